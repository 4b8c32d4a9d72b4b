"""A folder of synthetic scenes, laid out like any other data set."""

import itertools
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.data.classes import write_classes
from segbench.data.contact_sheet import contact_sheet
from segbench.data.synthetic.scene import paint_scene
from segbench.data.synthetic.world import CLASSES
from segbench.errors import InputError
from segbench.files import new_folder

MIN_SIZE = 64
_SHEET_SCENES = 24


def generate(out: Path, *, train: int, val: int, test: int, size: int, seed: int) -> None:
    """Write a data set of synthetic scenes: images, masks, classes and a contact sheet.

    Scene number k is the same in every data set of the same seed and size.

    Args:
        out: the folder to make; it may exist if it is empty.
        train: scenes for training, at least one.
        val: scenes for validation.
        test: scenes for the test.
        size: height and width of the scenes, at least ``MIN_SIZE``.
        seed: 0 or more; another seed gives other scenes.

    Raises:
        InputError: ``out`` is in use, or a number is out of range.
    """
    counts = {"train": train, "val": val, "test": test}
    if train < 1 or min(counts.values()) < 0:
        raise InputError(f"scenes {counts}: give at least 1 for train and no negative number")
    if size < MIN_SIZE or seed < 0:
        raise InputError(f"size {size}, seed {seed}: give a size from {MIN_SIZE}, a seed from 0 on")
    with new_folder(out) as folder:
        _write_scenes(folder, counts, size, seed)


def _write_scenes(folder: Path, counts: dict[str, int], size: int, seed: int) -> None:
    """Fill the data set folder."""
    numbers, shown = itertools.count(), []
    for split, count in counts.items():
        images, masks = folder / split / "image", folder / split / "mask"
        images.mkdir(parents=True)
        masks.mkdir()
        for k in itertools.islice(numbers, count):
            image, mask = paint_scene(np.random.default_rng([seed, k]), size, size)
            _write_image(images / f"scene_{k:04}.jpg", image)
            _write_image(masks / f"scene_{k:04}.png", mask)
            if k < _SHEET_SCENES:
                shown.append((image, mask))
    write_classes(folder / "classes.json", CLASSES)
    sheet = contact_sheet([image for image, _ in shown], [mask for _, mask in shown], CLASSES)
    _write_image(folder / "contact_sheet.jpg", sheet)


def _write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write an RGB image as .jpg or a mask as .png."""
    if path.suffix == ".jpg":
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    else:
        encoded = cv2.imencode(".png", pixels)[1]
    path.write_bytes(encoded.tobytes())
