"""A data set's pixels, decoded once, in a file that epochs, workers and runs share."""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.data.dataset import DataSet, Pair, image_size, read_image, read_mask
from segbench.data.parallel import in_threads
from segbench.files import replacing, user_cache

VERSION = 1
"""Goes up when the same files decode to other pixels, or the layout changes."""

ReadPair = Callable[[Pair], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""What gives a pair's image [H, W, 3] (RGB) and mask [H, W] (class ids); neither may be written."""


def decode(pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image and mask from their own files."""
    return read_image(pair.image), read_mask(pair.mask)


class Place(NamedTuple):
    """Where a pair's pixels begin in the file, and how many rows and columns they have."""

    start: int
    height: int
    width: int

    @property
    def bytes(self) -> int:
        return 4 * self.height * self.width


class DecodedPixels:
    """Reads pairs from the file: one byte per pixel of the mask after three of the image.

    The file is mapped into memory, so that all processes of a machine share one copy; pickled, as
    for a worker, it is the path alone.
    """

    def __init__(self, path: Path, places: dict[Path, Place]) -> None:
        self.path, self.places = path, places
        self._pixels = self._map()

    def __call__(self, pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        place = self.places[pair.image]
        pixels = self._pixels[place.start : place.start + place.bytes]
        size = place.height, place.width
        image, mask = np.split(pixels, [3 * place.height * place.width])
        return image.reshape(*size, 3), mask.reshape(size)

    def _map(self) -> NDArray[np.uint8]:
        # as a plain array: each slice of a memmap costs a Python object with a dictionary
        return np.asarray(np.memmap(self.path, np.uint8, "r"))

    def __getstate__(self) -> tuple[Path, dict[Path, Place]]:
        return self.path, self.places

    def __setstate__(self, state: tuple[Path, dict[Path, Place]]) -> None:
        self.__init__(*state)  # type: ignore[misc]


def decoded(data_set: DataSet, gigabytes: float, write: bool) -> ReadPair:
    """How to read the pairs of a data set: from the decoded file if there is one, or may be.

    It lies in the user's cache folder under a hash of the data set's content, so that runs and
    studies share it whatever their splits. Beyond the limit the files used least recently are
    removed first.

    Args:
        data_set: all of its pairs are decoded.
        gigabytes: most that all such files may take; a data set that needs more is not kept.
        write: decode now, if that was not done before.
    """
    pairs = sorted(
        {*data_set.train, *data_set.val, *data_set.test}, key=lambda p: data_set.digests[p]
    )
    places, size = _places(pairs)
    limit = int(gigabytes * 1e9)
    if size > limit:
        return decode
    folder = user_cache() / "decoded"
    path = folder / f"{VERSION}-{cv2.__version__}-{data_set.fingerprint}"
    try:
        if not _complete(path, size):
            if not write:
                return decode
            folder.mkdir(parents=True, exist_ok=True)
            _make_room(folder, limit - size)
            _write(path, pairs)
        os.utime(path)  # the last to go
        return DecodedPixels(path, places)
    except OSError as error:
        if write:
            print(
                f"segbench: {folder}: no place to keep decoded images ({error.strerror}); every "
                "epoch decodes them again (data.cache_gb: 0 says so)",
                file=sys.stderr,
            )
        return decode


def _places(pairs: Iterable[Pair]) -> tuple[dict[Path, Place], int]:
    places: dict[Path, Place] = {}
    start = 0
    for pair in pairs:
        width, height = image_size(pair)
        places[pair.image] = Place(start, height, width)
        start += places[pair.image].bytes
    return places, start


def _complete(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _make_room(folder: Path, room: int) -> None:
    """Remove files until the rest, unfinished ones too, fits; whoever has one open keeps it."""
    files: list[tuple[float, int, Path]] = []
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another process was faster
            files.append((file.stat().st_mtime, file.stat().st_size, file))
    total = sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if total <= room:
            break
        total -= size
        file.unlink(missing_ok=True)


def _write(path: Path, pairs: list[Pair]) -> None:
    with replacing(path) as part, part.open("wb") as stream:
        for image, mask in in_threads(decode, pairs, len(pairs), "decoding"):
            stream.write(image.tobytes())
            stream.write(mask.tobytes())
