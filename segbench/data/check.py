"""Every image and mask looked at once, before the first step and not in epoch 37."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segbench.data.classes import IGNORE
from segbench.data.dataset import DataSet, Pair, read_mask
from segbench.errors import InputError
from segbench.files import user_cache
from segbench.pictures import UNREADABLE

VERSION = 1
"""Goes up when the check looks for more: what passed before is then looked at again."""
IMAGE_MODES = ("RGB", "RGBA", "L", "P", "1")
"""What is read as 8-bit RGB without loss; an alpha channel is dropped."""


def check_data_set(data_set: DataSet) -> None:
    """Decode all pairs in parallel and check their sizes, depths and mask ids.

    A data set that passed is remembered by its content in the user's cache folder, so that the
    next run of a study starts at once.

    Raises:
        InputError: the first pair, in the order of splits and names, that is unreadable, whose
            mask has another size than its image, or ids outside classes.json.
    """
    passed = user_cache() / "checked" / f"{VERSION}-{data_set.fingerprint}"
    if passed.exists():
        return
    pairs = [*data_set.train, *data_set.val, *data_set.test]
    with ThreadPoolExecutor() as pool:
        for problem in pool.map(lambda pair: _problem(pair, len(data_set.classes)), pairs):
            if problem is not None:
                raise InputError(problem)
    with suppress(OSError):  # without a place to remember, the next run looks again
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()


def decode_pair(pair: Pair, num_classes: int) -> tuple[Image.Image, NDArray[np.uint8]]:
    """The image, decoded, and the class ids of its mask.

    Raises:
        ColorMaskError: the mask is a picture.
        InputError: either is unreadable or of a wrong depth, they differ in size, or the mask
            holds ids outside the classes.
    """
    mask = read_mask(pair.mask)
    try:
        with Image.open(pair.image) as image:
            width, height = image.size
            mode = "16 bits" if is_deep_png(pair.image) else image.mode
            image.load()  # a file cut short shows only when it is decoded
    except UNREADABLE as error:
        raise InputError(
            f"{pair.image}: not readable as an image ({error}); replace it, or remove the pair"
        ) from None
    if mode not in IMAGE_MODES:
        raise InputError(
            f"{pair.image}: an image of mode {mode}; images must have 8 bits per channel, RGB or "
            "grey (which is read as three equal channels)"
        )
    if mask.shape != (height, width):
        raise InputError(
            f"{pair.mask}: is {mask.shape[1]}x{mask.shape[0]} px, its image {width}x{height}; "
            "resize the mask by nearest neighbour"
        )
    ids = np.flatnonzero(np.bincount(mask.ravel(), minlength=IGNORE + 1))
    unknown = [int(i) for i in ids if num_classes <= i != IGNORE]
    if unknown:
        raise InputError(
            f"{pair.mask}: holds the ids {unknown}, classes.json has 0..{num_classes - 1} "
            f"({IGNORE} = ignore); add the classes or mend the mask"
        )
    return image, mask


def _problem(pair: Pair, num_classes: int) -> str | None:
    try:
        decode_pair(pair, num_classes)
    except InputError as error:
        return str(error)
    return None


def is_deep_png(path: Path) -> bool:
    """Whether a PNG's header says 16 bits; Pillow reads colour of that depth as 8 bits."""
    with path.open("rb") as stream:
        header = stream.read(25)
    return header.startswith(b"\x89PNG") and header[24] == 16
