"""Pictures, decoded by OpenCV."""

from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray


def imread(path: Path, flags: int) -> NDArray[Any] | None:
    """The pixels of a picture; None where it is missing, damaged, or claims to be far too large."""
    try:
        return cv2.imread(str(path), flags)
    except cv2.error:
        return None
