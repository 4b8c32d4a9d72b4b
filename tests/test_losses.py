"""Losses against hand arithmetic and against torch."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segbench.data.classes import IGNORE
from segbench.losses import LOSSES, SegmentationLoss, class_weights, cross_entropy, dice, focal

ONES = torch.ones(3)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask() -> Tensor:
    mask = torch.randint(0, 3, (2, 5, 6), generator=torch.Generator().manual_seed(1))
    mask[0, 0] = IGNORE
    return mask


def test_cross_entropy_is_torchs(logits: Tensor, mask: Tensor):
    for weights in (ONES, torch.tensor([0.2, 1.0, 3.0])):
        expected = F.cross_entropy(logits, mask, weights, ignore_index=IGNORE)
        assert cross_entropy(logits, mask, weights) == pytest.approx(float(expected))


def test_focal_by_hand():
    # one pixel, p of the truth 1/4: (1 - 1/4)^2 * ln 4
    logits = torch.log(torch.tensor([0.25, 0.75])).view(1, 2, 1, 1)
    loss = focal(logits, torch.zeros(1, 1, 1, dtype=torch.long), torch.ones(2))
    assert loss == pytest.approx(0.75**2 * math.log(4))


def test_focal_without_focus_is_cross_entropy(logits: Tensor, mask: Tensor):
    weights = torch.tensor([0.2, 1.0, 3.0])
    assert focal(logits, mask, weights, gamma=0.0) == pytest.approx(
        float(cross_entropy(logits, mask, weights))
    )


def test_dice_by_hand():
    # two pixels of class 0 with p = 0.75 each, one ignored; class 1 and 2 absent
    p = torch.tensor([0.75, 0.25, 1e-9])
    logits = p.log().view(1, 3, 1, 1).expand(1, 3, 1, 3)
    mask = torch.tensor([[[0, 0, IGNORE]]])
    assert dice(logits, mask, ONES) == pytest.approx(1 - 2 * 1.5 / (1.5 + 2), abs=1e-6)


def test_dice_equals_its_definition_on_one_hot_masks(logits: Tensor, mask: Tensor):
    labelled = (mask != IGNORE)[:, None].double()
    truth = F.one_hot(mask.where(mask != IGNORE, 0), 3).movedim(-1, 1) * labelled
    p = logits.double().softmax(1) * labelled
    score = 2 * (p * truth).sum((0, 2, 3)) / (p + truth).sum((0, 2, 3))
    assert dice(logits, mask, ONES) == pytest.approx(float(1 - score.mean()), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_labels_costs_nothing_and_breaks_nothing(name: str, logits: Tensor):
    logits.requires_grad_()
    loss = SegmentationLoss(name, 3)(logits, torch.full((2, 5, 6), IGNORE))  # type: ignore[arg-type]
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_prediction_costs_next_to_nothing(name: str, mask: Tensor):
    truth = mask.where(mask != IGNORE, 0)
    logits = 50.0 * F.one_hot(truth, 3).movedim(-1, 1)
    assert SegmentationLoss(name, 3)(logits, mask) < 1e-6  # type: ignore[arg-type]


def test_sums_are_sums(logits: Tensor, mask: Tensor):
    both = SegmentationLoss("cross_entropy+dice", 3)(logits, mask)
    parts = cross_entropy(logits, mask, ONES) + dice(logits, mask, ONES)
    assert both == pytest.approx(float(parts))


@pytest.mark.parametrize("name", LOSSES)
def test_a_module_in_half_precision_sums_in_full(name: str, logits: Tensor, mask: Tensor):
    """As trainer.precision: bf16-true casts it, buffers and all."""
    loss = SegmentationLoss(name, 3)  # type: ignore[arg-type]
    rounded = logits.bfloat16()
    expected = loss(rounded.float(), mask)
    assert loss.bfloat16()(rounded, mask) == expected


def test_inverse_frequency_by_hand():
    weights = class_weights("inverse_frequency", torch.tensor([100, 400, 0]))
    assert weights.tolist() == pytest.approx([1.6, 0.4, 0.0])


def test_effective_number_is_the_inverse_for_rare_and_flat_for_common_classes():
    pixels = torch.tensor([10, 1_000_000, 9_000_000])
    weights = class_weights("effective_number", pixels).double().numpy()
    beta = 1 - 1 / 10_000_010
    raw = (1 - beta) / (1 - np.power(beta, pixels.numpy()))
    assert weights == pytest.approx(raw / raw.sum() * 3, rel=1e-4)
    assert weights[0] / weights[1] == pytest.approx(1e5, rel=0.06)  # the inverse: 1e5
    assert weights[1] / weights[2] < 7  # the inverse: 9


def test_no_weights_means_ones():
    assert class_weights("none", torch.tensor([5, 0])).tolist() == [1.0, 1.0]
