"""The audit of augmentation policies, on policies with planted faults and exact scales."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.transforms import RandomResizedCrop

from segbench.data.audit import Policy, audit_policy
from segbench.data.augment import POLICIES, Augmentation, CropPolicy
from segbench.data.classes import IGNORE
from segbench.data.dataset import Pair
from segbench.probes import PolicyAudit, policy_audit

Pixels = NDArray[np.uint8]
CLASSES = 5
SIDE = 96


def write_pair(folder: Path, image: Pixels, mask: Pixels, name: str = "a") -> Pair:
    pair = Pair(folder / f"{name}.png", folder / f"{name}_mask.png", name)
    assert cv2.imwrite(str(pair.image), image[..., ::-1])
    assert cv2.imwrite(str(pair.mask), mask)
    return pair


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """160 x 200 px of noise; classes 0, 2 and 4 in stripes of 40 rows, the last ignored."""
    rng = np.random.default_rng(0)
    mask = np.repeat(np.array([0, 2, 4, IGNORE], np.uint8), 40)[:, None].repeat(200, axis=1)
    return write_pair(tmp_path, rng.integers(0, 256, (160, 200, 3), dtype=np.uint8), mask)


def composed(*transforms: A.BasicTransform, after: bool = False) -> Policy:
    crop = A.RandomCrop(SIDE, SIDE)
    compose = A.Compose([crop, *transforms] if after else [*transforms, crop])

    def policy(image: Pixels, mask: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
        compose.set_random_seed(int(rng.integers(2**31)))
        drawn = compose(image=image, mask=mask)
        return drawn["image"], drawn["mask"]

    return policy


def look(policy: Policy, pair: Pair, draws: int = 12) -> PolicyAudit:
    return audit_policy(policy, [pair], CLASSES, draws)


def changed(change: Callable[[Pixels, Pixels], tuple[Pixels, Pixels]]) -> Policy:
    """The plain crop, then a change of it."""
    plain = CropPolicy("none", 1.0, SIDE)
    return lambda image, mask, rng: change(*plain(image, mask, rng))


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("strength", [1.0, 1.5])
def test_segbenchs_own_policies_are_sound(name: Augmentation, strength: float, pair: Pair):
    found = look(CropPolicy(name, strength, SIDE), pair)
    assert found.damage == []
    assert found.no_op == (name == "none")
    assert found.wrong_labels == 0


def test_strength_zero_is_a_no_op(pair: Pair):
    for name in ("flip", "rotate", "scale", "color", "full"):
        found = look(CropPolicy(name, 0.0, SIDE), pair)  # type: ignore[arg-type]
        assert found.no_op
        assert found.scale == pytest.approx((1, 1, 1))


@pytest.mark.parametrize(("height", "width"), [(0.5, 0.5), (2.0, 2.0), (1.6, 0.9)])
def test_the_scale_of_a_fixed_resize_is_exact(height: float, width: float, tmp_path: Path):
    pair = write_pair(tmp_path, np.zeros((200, 400, 3), np.uint8), np.zeros((200, 400), np.uint8))
    size = (round(200 * height), round(400 * width))
    resized = A.Resize(*size, interpolation=cv2.INTER_LINEAR, mask_interpolation=cv2.INTER_NEAREST)
    found = look(composed(resized), pair, 4)
    # area for area: a stretch has the scale of the square of equal area
    assert found.scale == pytest.approx([(height * width) ** 0.5] * 3, rel=0.01)
    assert found.damage == []


def test_rotation_and_flips_do_not_change_the_scale(pair: Pair):
    turned = A.Rotate(
        (30, 30), interpolation=cv2.INTER_LINEAR, fill_mask=IGNORE, border_mode=0, p=1
    )
    found = look(composed(turned, A.HorizontalFlip(p=1)), pair, 6)
    assert found.scale == pytest.approx([1, 1, 1], abs=0.005)
    assert found.ignore_after > 0


def test_the_homeworks_crop_shows_objects_at_less_than_half(tmp_path: Path):
    """Not at 256 / sqrt(.54 x 750 x 1000) = .40: large windows of a wrong shape are drawn again."""
    pair = write_pair(tmp_path, np.zeros((750, 1000, 3), np.uint8), np.zeros((750, 1000), np.uint8))
    found = audit_policy(CropPolicy("scale_homework", 1.0, 256), [pair], CLASSES, 200)
    torch.manual_seed(0)
    drawn = [
        RandomResizedCrop.get_params(torch.empty(1, 750, 1000), [0.08, 1.0], [3 / 4, 4 / 3])
        for _ in range(4000)
    ]
    theirs = [256 / (height * width) ** 0.5 for _, _, height, width in drawn]
    expected = np.quantile(theirs, (0.5, 0.05, 0.95))
    assert found.scale == pytest.approx(expected.tolist(), abs=0.04)
    assert expected[0] == pytest.approx(0.455, abs=0.01)


def test_interpolated_masks_are_found(pair: Pair):
    soft = A.RandomScale((-0.4, 0.4), cv2.INTER_LINEAR, mask_interpolation=cv2.INTER_LINEAR, p=1)
    found = look(composed(soft), pair)
    assert 0.01 < found.interpolated < 0.5
    assert {1, 3} <= set(found.new_ids)  # between 0, 2 and 4
    assert found.damage[0] == "masks are interpolated"
    assert found.damage[1].startswith("ids appear that were not there: 1, 3")


def test_interpolation_between_ids_that_are_both_there_is_found_too(tmp_path: Path):
    """Between 0 and 2 lies 1, which the mask has elsewhere: no new id gives it away."""
    mask = np.repeat(np.array([0, 2, 0, 1], np.uint8), 40)[:, None].repeat(160, axis=1)
    pair = write_pair(tmp_path, np.full((160, 160, 3), 9, np.uint8), mask)
    half = A.Resize(143, 143, mask_interpolation=cv2.INTER_LINEAR)
    found = look(composed(half), pair)
    assert found.new_ids == []
    assert found.wrong_labels > 0.001
    assert "masks are interpolated" in found.damage


def test_a_mask_that_is_treated_as_an_image_is_found(pair: Pair):
    def brighter(image: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
        return image, np.clip(mask.astype(float) * 0.8 + 9, 0, 255).astype(mask.dtype)

    found = look(changed(brighter), pair)
    assert found.recoloured == 1
    assert found.damage[0] == "masks are recoloured like images in 100% of crops"


def test_a_border_that_becomes_a_class_is_found(pair: Pair):
    turned = A.Rotate((30, 30), fill_mask=0, border_mode=cv2.BORDER_CONSTANT, p=1)
    found = look(composed(turned), pair)
    assert found.border_is_class == 1
    assert found.damage == ["the border that a transform brings in is labelled as a class"]


def test_an_image_that_moves_without_its_mask_is_found(pair: Pair):
    found = look(changed(lambda image, mask: (image[:, ::-1], mask)), pair)
    assert found.apart == 1
    assert found.damage == ["image and mask move apart in 100% of crops"]


def test_labels_that_are_exchanged_are_counted(pair: Pair):
    def exchanged(image: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
        return image, np.where(mask == 2, 4, mask).astype(mask.dtype)

    found = look(changed(exchanged), pair)
    before, after = found.shares_before, found.shares_after
    assert after[2] == 0
    assert after[4] == pytest.approx(before[2] + before[4])
    assert found.wrong_labels == pytest.approx(before[2] * (1 - found.ignore_before), rel=0.05)
    assert f"{found.wrong_labels:.1%} of the pixels carry a wrong label" in found.damage


def test_shares_of_changed_pixels(pair: Pair):
    def brighter_left(image: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
        image = image.copy()
        image[:, : SIDE // 4] = 255 - image[:, : SIDE // 4] // 2 * 2  # never itself
        return image, mask

    found = look(changed(brighter_left), pair)
    assert found.image_changed == pytest.approx(0.25, abs=0.01)
    assert found.mask_changed == 0
    upside_down = look(changed(lambda image, mask: (image[::-1], mask[::-1])), pair)
    assert upside_down.image_changed > 0.95
    assert 0 < upside_down.mask_changed < 1
    assert upside_down.shares_before == pytest.approx(upside_down.shares_after)
    assert upside_down.damage == []


def test_ignored_pixels_are_compared_with_the_plain_crop(pair: Pair):
    def half_ignored(image: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
        mask = mask.copy()
        mask[:, SIDE // 2 :] = IGNORE
        return image, mask

    found = look(changed(half_ignored), pair)
    assert found.ignore_after == pytest.approx(0.5 + found.ignore_before / 2)


def test_an_image_smaller_than_the_crop_is_followed_too(tmp_path: Path):
    pair = write_pair(tmp_path, np.full((40, 50, 3), 200, np.uint8), np.ones((40, 50), np.uint8))
    found = look(CropPolicy("none", 1.0, SIDE), pair)
    assert found.no_op
    assert found.ignore_before == found.ignore_after == pytest.approx(1 - 40 * 50 / SIDE**2)
    assert found.shares_after == [0, 1, 0, 0, 0]


def test_json_and_back(pair: Pair):
    found = look(CropPolicy("full", 1.0, SIDE), pair, 3)
    content: dict[str, Any] = found.as_json()
    assert policy_audit(content) == found
    spoilt = look(changed(lambda image, mask: (image, mask * 0)), pair, 2)
    assert spoilt.scale is None  # coordinates that are gone have none
    assert policy_audit(spoilt.as_json()) == spoilt
