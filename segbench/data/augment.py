"""Augmentation policies: what a training crop may look like.

Masks stay exact: nearest neighbour, and whatever border a transform brings in is ``ignore``,
never a class. Colour touches the image alone.
"""

import random
from collections.abc import Callable
from typing import Literal

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.data.classes import IGNORE

Augmentation = Literal[
    "none",
    "flip",
    "rotate",
    "scale",
    "color",
    "full",
    "full_minus_flip",
    "full_minus_rotate",
    "full_minus_scale",
    "full_minus_color",
    "scale_homework",
]


def _scale(strength: float) -> list[A.BasicTransform]:
    # a factor symmetric about 1, so that the median object is as large as in evaluation
    limit = 0.4 * strength
    return [
        A.RandomScale((-limit, limit), cv2.INTER_LINEAR, mask_interpolation=cv2.INTER_NEAREST, p=1)
    ]


def _rotate(strength: float) -> list[A.BasicTransform]:
    return [
        A.Rotate(
            (-30 * strength, 30 * strength),
            interpolation=cv2.INTER_LINEAR,
            mask_interpolation=cv2.INTER_NEAREST,
            border_mode=cv2.BORDER_CONSTANT,
            fill=0,
            fill_mask=IGNORE,
            p=0.5,
        )
    ]


def _flip(strength: float) -> list[A.BasicTransform]:
    p = min(1.0, 0.5 * strength)
    return [A.HorizontalFlip(p=p), A.VerticalFlip(p=p)]


def _color(strength: float) -> list[A.BasicTransform]:
    part = 0.2 * strength
    span = (1 - part, 1 + part)
    return [
        A.ColorJitter(
            brightness=span,
            contrast=span,
            saturation=span,
            hue=(-0.05 * strength, 0.05 * strength),
            p=0.8,
        )
    ]


# Scale and rotation act on the whole image, before the crop, so that the crop shows little of
# the border they bring in; flips and colour cost less on the crop.
BEFORE_CROP: dict[str, Callable[[float], list[A.BasicTransform]]] = {
    "scale": _scale,
    "rotate": _rotate,
}
AFTER_CROP: dict[str, Callable[[float], list[A.BasicTransform]]] = {"flip": _flip, "color": _color}
PARTS = ("scale", "rotate", "flip", "color")

POLICIES: dict[str, tuple[str, ...]] = {
    "none": (),
    **{part: (part,) for part in PARTS},
    "full": PARTS,
    **{f"full_minus_{part}": tuple(p for p in PARTS if p != part) for part in PARTS},
    "scale_homework": (),
}
"""Name -> its parts."""


class CropPolicy:
    """Draws one training crop from an image.

    Args:
        augmentation: the policy. ``none`` still draws random crops. ``scale_homework`` is
            torchvision's ``RandomResizedCrop`` at its defaults (8 % to 100 % of the image's area,
            stretched by up to 4/3), which on large images shows objects far smaller than they are
            in evaluation.
        strength: 0..1.5, scales every magnitude; 0 is ``none``, 1 the usual.
        crop_size: side of the square crop in pixels. A smaller image is padded with ignore.
    """

    def __init__(self, augmentation: Augmentation, strength: float, crop_size: int) -> None:
        parts = POLICIES[augmentation]
        before = [t for part in BEFORE_CROP if part in parts for t in BEFORE_CROP[part](strength)]
        after = [t for part in AFTER_CROP if part in parts for t in AFTER_CROP[part](strength)]
        self._compose = A.Compose([*before, CROPS.get(augmentation, _crop)(crop_size), *after])

    def __call__(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Image [crop, crop, 3] and mask [crop, crop], drawn from ``rng`` and nothing else."""
        self._compose.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        drawn = self._compose(image=image, mask=mask)
        return drawn["image"], drawn["mask"]


def _crop(size: int) -> A.BasicTransform:
    return A.RandomCrop(
        size, size, pad_if_needed=True, border_mode=cv2.BORDER_CONSTANT, fill=0, fill_mask=IGNORE
    )


def _homework_crop(size: int) -> A.BasicTransform:
    return A.RandomResizedCrop(
        (size, size),
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
    )


CROPS = {"scale_homework": _homework_crop}
"""Policies that crop in a way of their own."""
