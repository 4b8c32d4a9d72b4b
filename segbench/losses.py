"""What training minimises."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.data.classes import IGNORE

LossName = Literal["cross_entropy", "dice", "focal", "cross_entropy+dice", "focal+dice"]
ClassWeights = Literal["none", "inverse_frequency", "effective_number"]


def cross_entropy(logits: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Class-weighted mean over the labelled pixels; 0 where there are none."""
    labelled = mask != IGNORE
    total = F.cross_entropy(logits, mask, weights, ignore_index=IGNORE, reduction="sum")
    norm = (weights[mask.where(labelled, 0)] * labelled).sum()
    return total / norm.clamp_min(torch.finfo(norm.dtype).tiny)


def focal(logits: Tensor, mask: Tensor, weights: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy of each pixel times (1 - p of the truth)^gamma: easy pixels count less.

    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, with softmax.
    """
    labelled = mask != IGNORE
    truth = mask.where(labelled, 0)
    log_p = logits.log_softmax(1).gather(1, truth[:, None])[:, 0]
    weight = weights[truth] * labelled
    loss = -((1 - log_p.exp()) ** gamma) * log_p * weight
    return loss.sum() / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)


def dice(logits: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """1 - soft Dice over the batch, mean over the classes it shows (weighted).

    Milletari et al., V-Net, 3DV 2016; Sudre et al., 2017.
    """
    labelled = mask != IGNORE
    truth = mask.where(labelled, 0)
    p = logits.softmax(1) * labelled[:, None]
    p_of_truth = p.gather(1, truth[:, None])[:, 0]
    # sums by class of the truth; a one-hot of the masks would take far more memory and time
    hits = torch.zeros_like(weights).index_add(0, truth.flatten(), p_of_truth.flatten())
    pixels = torch.zeros_like(weights).index_add(0, truth.flatten(), labelled.flatten().float())
    size = p.sum((0, 2, 3)) + pixels
    weight = weights * (pixels > 0)
    score = 2 * hits / size.clamp_min(torch.finfo(size.dtype).tiny)
    return (weight * (1 - score)).sum() / weight.sum().clamp_min(torch.finfo(size.dtype).tiny)


LOSSES: dict[LossName, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...]] = {
    "cross_entropy": (cross_entropy,),
    "dice": (dice,),
    "focal": (focal,),
    "cross_entropy+dice": (cross_entropy, dice),
    "focal+dice": (focal, dice),
}
"""Name -> the terms of the sum."""


class SegmentationLoss(nn.Module):
    """The sum of the named terms, its classes weighted.

    The weights are a buffer: a checkpoint carries those it was trained with.

    Args:
        name: a key of :data:`LOSSES`.
        num_classes: K.
    """

    weights: Tensor

    def __init__(self, name: LossName, num_classes: int) -> None:
        super().__init__()
        self.terms = LOSSES[name]
        self.register_buffer("weights", torch.ones(num_classes))

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Scalar loss of logits [N, K, H, W] (any float type) and mask int64 [N, H, W]."""
        # sums over a million pixels do not fit half precision, to which bf16-true casts buffers
        logits, weights = logits.float(), self.weights.float()
        return torch.stack([term(logits, mask, weights) for term in self.terms]).sum()


def class_weights(scheme: ClassWeights, pixels: Tensor) -> Tensor:
    """Weight of each class, mean 1 over the classes that occur; 0 for those that do not.

    Args:
        scheme: ``inverse_frequency``: 1 / pixels. ``effective_number``: (1 - b) / (1 - b^n) with
            n the pixels and b = 1 - 1/N for N pixels in all (Cui et al., Class-Balanced Loss,
            CVPR 2019): about the inverse for rare classes, flatter for common ones.
        pixels: labelled training pixels of each class, int64 [K].
    """
    counts = pixels.double()
    occurs = counts > 0
    if scheme == "none":
        return torch.ones_like(counts).float()
    if scheme == "inverse_frequency":
        raw = 1 / counts.clamp_min(1)
    else:
        beta = 1 - 1 / counts.sum()
        raw = (1 - beta) / (1 - beta ** counts.clamp_min(1))
    raw = raw * occurs
    return (raw / raw.sum() * occurs.sum()).float()
