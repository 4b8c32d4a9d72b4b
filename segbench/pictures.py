"""Pictures from files: decoded, or refused whatever their bytes claim."""

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segbench.errors import InputError

UNREADABLE = (
    *(OSError, SyntaxError, ValueError, LookupError, ArithmeticError, EOFError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow raises for files that are no images, damaged, or far too large."""


def imread(path: Path, flags: int) -> NDArray[Any] | None:
    """The pixels of a picture; None where it is missing, damaged, or claims to be far too large."""
    try:
        return cv2.imread(str(path), flags)
    except cv2.error:
        return None


def read_photo(path: Path) -> NDArray[np.uint8]:
    """A picture of 8-bit RGB [H, W, 3].

    Raises:
        InputError: it cannot be read, or was cut short.
    """
    try:
        with Image.open(path) as picture:  # OpenCV makes up what is missing
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except UNREADABLE as error:
        raise InputError(f"{path}: not readable as a picture ({error}); put it back") from None
