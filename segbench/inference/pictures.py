"""JPEG and PNG images to segment, and the overlays of all kinds of images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from segbench.data.check import IMAGE_MODES, is_deep_png
from segbench.data.classes import IGNORE, SegmentationClass
from segbench.data.dataset import IMAGE_SUFFIXES, read_image
from segbench.errors import InputError
from segbench.files import write_atomic
from segbench.models.tiling import Read
from segbench.pictures import UNREADABLE

Pixels = NDArray[np.uint8]

LARGEST = 2**30
"""Pixels that OpenCV decodes at most."""

OVERLAY_SIDE = 2048
"""Longest side of an overlay in pixels."""


class Part(NamedTuple):
    """A finished part of a prediction: its place, and its class ids [rows, columns]."""

    rows: slice
    columns: slice
    ids: Pixels


Predict = Callable[[Read, int, int], Iterator[Part]]
"""Predicts an image of that height and width, which it reads where it needs it."""


@dataclass(frozen=True)
class Picture:
    """A JPEG or PNG: held in memory as it is, its prediction too."""

    suffixes = IMAGE_SUFFIXES
    path: Path
    height: int
    width: int

    @classmethod
    def at(cls, path: Path) -> "Picture":
        """Looks at the header only.

        Raises:
            InputError: not an image, one of more than 8 bits per channel, or far too large.
        """
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # large images are the point
        try:
            with Image.open(path) as image:
                width, height = image.size
                mode = "16 bits" if is_deep_png(path) else image.mode
        except UNREADABLE as error:
            raise InputError(f"{path}: not readable as an image ({error})") from None
        finally:
            Image.MAX_IMAGE_PIXELS = limit
        if mode not in IMAGE_MODES:
            raise InputError(
                f"{path}: an image of mode {mode}; images must have 8 bits per channel, RGB or "
                "grey, scaled as the training images were"
            )
        if width * height > LARGEST:
            raise InputError(
                f"{path}: {width}x{height} px are too many to be read at once; make it a GeoTIFF, "
                "which is read in parts (gdal_translate)"
            )
        return cls(path, height, width)

    def outputs(self, folder: Path) -> tuple[Path, Path]:
        """The class map and the overlay."""
        return folder / f"{self.path.stem}.png", overlay_path(folder, self.path)

    def segment(self, folder: Path, predict: Predict, classes: Sequence[SegmentationClass]) -> None:
        """Write both."""
        pixels = read_image(self.path)
        tensor = torch.from_numpy(pixels.transpose(2, 0, 1))[None]
        ids = np.empty((self.height, self.width), np.uint8)
        for part in predict(lambda r, c: tensor[..., r, c], self.height, self.width):
            ids[part.rows, part.columns] = part.ids
        class_map, overlay = self.outputs(folder)
        write_atomic(class_map, bytes(cv2.imencode(".png", ids)[1]))
        size = overlay_size(self.height, self.width)[::-1]
        write_overlay(
            overlay,
            np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8),
            np.asarray(cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST), np.uint8),
            classes,
        )


def overlay_path(folder: Path, image: Path) -> Path:
    return folder / f"{image.stem}_overlay.jpg"


def overlay_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the overlay of an image: its own where they are small enough."""
    factor = min(1.0, OVERLAY_SIDE / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def write_overlay(
    path: Path, image: Pixels, ids: Pixels, classes: Sequence[SegmentationClass]
) -> None:
    """A JPEG in which half of each pixel is its class's colour; ignored ones stay as they are.

    Args:
        path: where to write.
        image: RGB [h, w, 3].
        ids: class ids [h, w].
        classes: their colours.
    """
    palette = np.zeros((256, 3), np.uint8)
    for one in classes:
        palette[one.id] = one.color
    blended = cv2.addWeighted(image, 0.5, palette[ids], 0.5, 0.0)
    blended[ids == IGNORE] = image[ids == IGNORE]
    write_atomic(path, bytes(cv2.imencode(".jpg", blended[..., ::-1])[1]))
