"""What takes a run's network to find out: affinity of policies, and what ASPP's idle taps do."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from segbench import metrics
from segbench.data.audit import Policy
from segbench.data.dataset import Pair, read_image, read_mask
from segbench.models import SegmentationNetwork
from segbench.models.aspp import ASPP
from segbench.models.tiling import tiled_logits
from segbench.taps import idle, map_side

Pixels = NDArray[np.uint8]
Counts = NDArray[np.int64]
BATCH = 8


def draw_crops(
    policy: Policy, pairs: Sequence[Pair], crops: int, seed: int = 0
) -> list[tuple[Pixels, Pixels]]:
    """Crops of the images in turn, each with its labels."""
    drawn = []
    for number in range(crops):
        pair = pairs[number % len(pairs)]
        rng = np.random.default_rng([seed, number])
        drawn.append(policy(read_image(pair.image), read_mask(pair.mask), rng))
    return drawn


@torch.inference_mode()
def counts_of_crops(
    network: SegmentationNetwork, crops: Sequence[tuple[Pixels, Pixels]], classes: int
) -> Counts:
    """Confusion counts of a network on crops of one size, summed [K, K]."""
    counts = np.zeros((classes, classes), np.int64)
    for start in range(0, len(crops), BATCH):
        images, masks = zip(*crops[start : start + BATCH], strict=True)
        predicted = _predict(network, np.stack(images))
        counts += metrics.confusion(np.stack(masks), predicted, classes)
    return counts


@dataclass(frozen=True)
class Branch:
    """A dilated branch of ASPP: its 3x3 convolution, and which taps training left as drawn."""

    rate: int
    conv: nn.Conv2d
    idle: Tensor


@dataclass
class Energy:
    """Sums of squares of what a branch's convolution gives, by the taps it comes from."""

    idle: float = 0.0
    trained: float = 0.0

    @property
    def share(self) -> float:
        return self.idle / max(self.idle + self.trained, 1e-30)


def branches_of(network: SegmentationNetwork, crop_size: int) -> list[Branch]:
    """The dilated branches of a network's ASPP; none where it has no ASPP.

    Args:
        network: which.
        crop_size: side in pixels of the square crops that it was trained on.
    """
    side = map_side(crop_size, network.stride)
    found = []
    for part in network.modules():
        if isinstance(part, ASPP):
            for rate, branch in zip(part.rates, list(part.branches)[1:], strict=True):
                convs = (m for m in branch.modules() if isinstance(m, nn.Conv2d))
                conv = next(m for m in convs if m.kernel_size == (3, 3))
                found.append(Branch(rate, conv, torch.from_numpy(idle(side, side, rate))))
    return found


@torch.inference_mode()
def without_idle_taps(
    network: SegmentationNetwork,
    branches: Sequence[Branch],
    pairs: Iterable[Pair],
    classes: int,
    tile: int | None = None,
) -> dict[str, Any]:
    """Score images as the test does, with the idle taps set to zero; they are as before afterwards.

    Args:
        network: which.
        branches: of its ASPP.
        pairs: the images.
        classes: K.
        tile: side of the tiles that the test cuts images into; None for whole images.

    Returns:
        ``counts`` of each image [n, K, K], ``images``, and of each branch ``rates`` and ``energy``:
        the share that its idle taps would have brought in.
    """
    energies = [Energy() for _ in branches]
    counts, names = [], []
    with _zeroed(branches, energies):
        for pair in pairs:
            predicted = _predict(network, read_image(pair.image)[None], tile)
            counts.append(metrics.confusion(read_mask(pair.mask), predicted[0], classes))
            names.append(pair.name)
    return {
        "images": names,
        "counts": np.stack(counts).tolist(),
        "rates": [branch.rate for branch in branches],
        "energy": [energy.share for energy in energies],
    }


@contextmanager
def _zeroed(branches: Sequence[Branch], energies: Sequence[Energy]) -> Iterator[None]:
    before = [branch.conv.weight.detach().clone() for branch in branches]
    hooks = []
    for branch, weight, energy in zip(branches, before, energies, strict=True):
        branch.conv.weight[..., branch.idle] = 0
        only_idle = weight * branch.idle.to(weight.device)
        hooks.append(branch.conv.register_forward_hook(partial(_add_energy, energy, only_idle)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for branch, weight in zip(branches, before, strict=True):
            branch.conv.weight.copy_(weight)


def _add_energy(
    energy: Energy, only_idle: Tensor, conv: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor
) -> None:
    of_idle = F.conv2d(
        inputs[0], only_idle, None, conv.stride, conv.padding, conv.dilation, conv.groups
    )
    energy.idle += float(of_idle.square().sum())
    energy.trained += float(output.square().sum())


def _predict(
    network: SegmentationNetwork, images: Pixels, tile: int | None = None
) -> NDArray[np.int64]:
    """Class ids [N, H, W] of RGB images [N, H, W, 3]."""
    device = network.mean.device
    batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
    if tile is None:
        logits = network(batch)
    else:
        logits = tiled_logits(network, batch, tile, overlap=tile // 4)
    return np.asarray(logits.max(1).indices.cpu().numpy(), np.int64)
