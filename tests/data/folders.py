"""Small data sets to check, split and convert: every image its own, every mask all classes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLORS = ((0, 0, 0), (200, 30, 30), (30, 60, 220))
NAMES = ("Ground", "Roof", "Pond")


def photo(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """Blobs of many sizes and colours, others for each number."""
    rng = np.random.default_rng([7, number])
    sizes = [(size, size, 3) for size in (4, 9, 16)]
    layers = [cv2.resize(rng.normal(0, 30, size), (width, height)) for size in sizes]
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


def labels(width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """The ids 0, 1, 2 in three stripes: half, a quarter, a quarter of the width."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 1
    mask[:, 3 * width // 4 :] = 2
    return mask


def write_pair(folder: Path, name: str, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
    for kind, pixels in (("image", image), ("mask", mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / f"{name}.png")


def write_classes(root: Path) -> None:
    classes = [
        {"id": k, "name": name, "color": color}
        for k, (name, color) in enumerate(zip(NAMES, COLORS, strict=True))
    ]
    (root / "classes.json").write_text(json.dumps(classes))


def write_groups(root: Path, groups: Mapping[str, str]) -> None:
    rows = [f"{image},{group}" for image, group in groups.items()]
    (root / "groups.csv").write_text("\n".join(["image,group", *rows]) + "\n")


def write_data(root: Path, **splits: Sequence[str]) -> Path:
    """A data set without a flaw; a split "flat" lies in no folder of its own."""
    root.mkdir()
    number = 0
    for split, names in splits.items():
        for name in names:
            write_pair(root / (split if split != "flat" else ""), name, photo(number), labels())
            number += 1
    write_classes(root)
    return root
