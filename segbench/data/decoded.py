"""A data set's pixels, decoded once, in a file that epochs, workers and runs share."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.data.dataset import DataSet, Pair, image_size, read_image, read_mask
from segbench.files import replacing, user_cache
from segbench.parallel import in_threads

VERSION = 1
"""Goes up when the same files decode to other pixels, or the layout changes."""

ABANDONED = 600.0  # seconds without a write, after which an unfinished file is nobody's

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


class DecodedPixels:
    """Reads pairs from the file: one byte per pixel of the mask after three of the image.

    The file is mapped into memory, so that all processes of a machine share one copy; pickled, as
    for a worker, it is the path and the places, not the pixels.
    """

    def __init__(self, path: Path, places: dict[Path, Place]) -> None:
        self.path, self.places = path, places
        # as a plain array: each slice of a memmap costs a Python object with a dictionary
        self._pixels = np.asarray(np.memmap(path, np.uint8, "r"))

    def __call__(self, pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        start, height, width = self.places[pair.image]
        middle, end = start + 3 * height * width, start + 4 * height * width
        image, mask = self._pixels[start:middle], self._pixels[middle:end]
        return image.reshape(height, width, 3), mask.reshape(height, width)

    def __reduce__(self) -> tuple[type["DecodedPixels"], tuple[Path, dict[Path, Place]]]:
        return DecodedPixels, (self.path, self.places)


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
    sizes = {p: image_size(p) for p in (*data_set.train, *data_set.val, *data_set.test)}
    size = sum(4 * width * height for width, height in sizes.values())
    limit = int(gigabytes * 1e9)
    if size > limit:
        return decode
    pairs = sorted(sizes, key=lambda pair: data_set.digests[pair])
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
        return DecodedPixels(path, _places(pairs, sizes))
    except OSError as error:
        if write:
            print(
                f"segbench: {folder}: no place to keep decoded images ({error.strerror}); every "
                "epoch decodes them again (data.cache_gb: 0 says so)",
                file=sys.stderr,
            )
        return decode


def _places(pairs: Iterable[Pair], sizes: Mapping[Pair, tuple[int, int]]) -> dict[Path, Place]:
    places: dict[Path, Place] = {}
    start = 0
    for pair in pairs:
        width, height = sizes[pair]
        places[pair.image] = Place(start, height, width)
        start += 4 * height * width
    return places


def _complete(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _make_room(folder: Path, room: int) -> None:
    """Remove files until the rest, unfinished ones too, fits; whoever has one open keeps it.

    Unfinished ones that somebody wrote to of late stay: they are still to take their name.
    """
    files: list[tuple[float, int, Path]] = []
    now = time.time()
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another process was faster
            files.append((file.stat().st_mtime, file.stat().st_size, file))
    total = sum(size for _, size, _ in files)
    for used, size, file in sorted(files):
        if total <= room:
            break
        if file.suffix == ".part" and now - used < ABANDONED:
            continue
        total -= size
        file.unlink(missing_ok=True)


def _write(path: Path, pairs: list[Pair]) -> None:
    with replacing(path) as part, part.open("wb") as stream:
        for image, mask in in_threads(decode, pairs, len(pairs), "decoding"):
            stream.write(image.tobytes())
            stream.write(mask.tobytes())
