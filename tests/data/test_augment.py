"""Augmentation: masks stay exact, borders are ignored, objects keep their size."""

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from segbench.data.augment import AFTER_CROP, BEFORE_CROP, PARTS, POLICIES, Augmentation, CropPolicy
from segbench.data.classes import IGNORE

CROP = 64
Pixels = NDArray[np.uint8]


def scene(side: int = 160) -> tuple[Pixels, Pixels]:
    """Quadrants of classes 1..4, each of its own grey, and a strip of ignore."""
    mask = np.ones((side, side), dtype=np.uint8)
    mask[: side // 2, side // 2 :] = 2
    mask[side // 2 :, : side // 2] = 3
    mask[side // 2 :, side // 2 :] = 4
    mask[:5] = IGNORE
    return np.repeat((mask % 8 * 30)[..., None], 3, axis=2), mask


def draws(policy: CropPolicy, image: Pixels, mask: Pixels, n: int) -> list[tuple[Pixels, Pixels]]:
    return [policy(image, mask, np.random.default_rng([7, i])) for i in range(n)]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("strength", [0.5, 1.0, 1.5])
def test_masks_hold_only_labels_that_were_there(name: Augmentation, strength: float):
    image, mask = scene()
    for drawn, labels in draws(CropPolicy(name, strength, CROP), image, mask, 20):
        assert drawn.shape == (CROP, CROP, 3)
        assert labels.shape == (CROP, CROP)
        assert set(np.unique(labels)) <= {1, 2, 3, 4, IGNORE}


@pytest.mark.parametrize("name", [n for n in POLICIES if "color" not in POLICIES[n]])
def test_image_and_mask_move_together(name: Augmentation):
    image, mask = scene()
    for drawn, labels in draws(CropPolicy(name, 1.0, CROP), image, mask, 20):
        # away from edges, where the image is interpolated, the grey tells the class
        edges = np.ones((CROP, CROP), dtype=bool)
        edges[3:-3, 3:-3] = False  # what lies just outside was interpolated with too
        for axis in (0, 1):
            for shift in (-3, -2, -1, 1, 2, 3):
                edges |= np.roll(labels, shift, axis) != labels
        inside = ~edges & (labels != IGNORE)
        assert inside.mean() > 0.2
        grey = labels[inside].astype(int) * 30
        assert (np.abs(drawn[inside, 0].astype(int) - grey) <= 1).all()


@pytest.mark.parametrize("name", ["rotate", "scale", "full_minus_color", "scale_homework", "none"])
def test_a_border_brought_in_is_ignored_and_never_a_class(name: Augmentation):
    image = np.full((CROP, CROP, 3), 200, dtype=np.uint8)  # as small as the crop: borders show
    mask = np.full((CROP, CROP), 3, dtype=np.uint8)
    borders = 0
    for drawn, labels in draws(CropPolicy(name, 1.5, CROP), image, mask, 30):
        brought_in = drawn[..., 0] < 100  # black, or interpolated with it
        assert (labels[drawn[..., 0] == 0] == IGNORE).all()
        assert (labels[~brought_in] == 3).mean() > 0.98  # but for interpolated pixels
        borders += int(brought_in.sum())
    assert (borders > 0) == (name not in ("none", "scale_homework"))


def test_an_image_smaller_than_the_crop_is_padded_with_ignore():
    image, mask = np.full((20, 90, 3), 9, np.uint8), np.ones((20, 90), np.uint8)
    for _, labels in draws(CropPolicy("none", 1.0, CROP), image, mask, 5):
        assert (labels == 1).sum() == 20 * CROP
        assert (labels == IGNORE).sum() == (CROP - 20) * CROP


def object_sizes(name: Augmentation) -> NDArray[np.float64]:
    """Side of a square of 20 px, as the crops of a 1000x750 image show it."""
    image = np.zeros((750, 1000, 3), np.uint8)
    mask = np.zeros((750, 1000), np.uint8)
    for y in range(15, 750, 50):
        for x in range(15, 1000, 50):
            mask[y : y + 20, x : x + 20] = 1
    shares = [
        (labels == 1).mean() / max((labels != IGNORE).mean(), 1e-9)
        for _, labels in draws(CropPolicy(name, 1.0, 256), image, mask, 1)
    ]
    assert shares[0] == pytest.approx(0.16, abs=0.03)  # the grid is what it should be
    sizes = []
    for _, labels in draws(CropPolicy(name, 1.0, 256), image, mask, 150):
        row_changes = (np.diff((labels == 1).astype(int), axis=1) != 0).sum(1).max()
        column_changes = (np.diff((labels == 1).astype(int), axis=0) != 0).sum(0).max()
        # two changes for each 50 px of scene
        sizes.append(20 * 256 / (25 * np.sqrt(row_changes * column_changes)))
    return np.array(sizes)


def test_the_scale_part_shows_objects_as_large_as_evaluation_does():
    sizes = object_sizes("scale")
    assert np.median(sizes) / 20 == pytest.approx(1.0, abs=0.12)
    assert sizes.min() / 20 < 0.75
    assert sizes.max() / 20 > 1.25


def test_the_homeworks_resized_crop_shows_them_far_smaller():
    assert np.median(object_sizes("scale_homework")) / 20 < 0.55


def test_strength_zero_is_no_augmentation():
    image, mask = scene()
    plain = CropPolicy("none", 1.0, 160)  # the whole image: the crop has no freedom
    for name in POLICIES:
        if name == "scale_homework":  # all of it is its crop
            continue
        (drawn, labels), (expected, truth) = (
            draws(policy, image, mask, 1)[0]
            for policy in (CropPolicy(name, 0.0, 160), plain)  # type: ignore[arg-type]
        )
        assert (labels == truth).all()
        assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_color_leaves_geometry_alone_and_flip_leaves_color_alone():
    image, mask = scene()
    whole = image.shape[0]
    for drawn, labels in draws(CropPolicy("color", 1.0, whole), image, mask, 5):
        assert (labels == mask).all()
        assert drawn.shape == image.shape
    flips = [mask, mask[::-1], mask[:, ::-1], mask[::-1, ::-1]]
    seen = set()
    for drawn, labels in draws(CropPolicy("flip", 1.0, whole), image, mask, 40):
        (which,) = [i for i, flip in enumerate(flips) if (flip == labels).all()]
        assert (drawn[..., 0] == labels % 8 * 30).all()
        seen.add(which)
    assert seen == {0, 1, 2, 3}


def test_the_tables_name_the_same_policies_and_parts():
    assert set(get_args(Augmentation)) == set(POLICIES)
    assert set(BEFORE_CROP) | set(AFTER_CROP) == set(PARTS)
    assert POLICIES["full_minus_scale"] == ("rotate", "flip", "color")
