"""Which taps of a dilated 3x3 convolution see its map, and which see nothing but padding.

A tap that sees padding at every position of the map of a training crop gets a gradient of exactly
zero: it keeps the weights it was drawn with. On the larger map of a whole image it may see pixels
all the same. Plain arithmetic, for training's warning and for the audit of finished runs alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Taps = NDArray[np.float64]

PAPER = (6, 12, 18)
"""The rates of Chen et al., Rethinking Atrous Convolution, 2017, for maps of 33 x 33."""
PAPERS_MAP = 33


@dataclass(frozen=True)
class Pyramid:
    """An ASPP: the rates of its dilated branches, and image pixels per pixel of its map."""

    rates: tuple[int, ...]
    stride: int


DEFAULTS = {"deeplab": Pyramid((3, 6, 9), 16)}
"""The architectures that have an ASPP, as it is where a configuration says nothing of it."""


def pyramid_of(model: Mapping[str, Any]) -> Pyramid | None:
    """The ASPP of a configuration's ``model`` keys, or None."""
    usual = DEFAULTS.get(model["architecture"])
    if usual is None or model.get("aspp") is False:
        return None
    rates = tuple(model.get("aspp_rates") or usual.rates)
    return Pyramid(rates, model.get("output_stride") or usual.stride)


def stride_of(model: Mapping[str, Any]) -> int | None:
    """Image pixels per pixel of the coarsest map, where the architecture may have an ASPP on it."""
    usual = DEFAULTS.get(model["architecture"])
    return None if usual is None else model.get("output_stride") or usual.stride


def map_side(pixels: int, stride: int) -> int:
    """Side of the map of an image, which is padded to a multiple of the stride."""
    return -(-pixels // stride)


def seeing(height: int, width: int, rate: int) -> Taps:
    """Share of a map's positions at which each tap of a 3x3 convolution sees the map [3, 3].

    The convolution pads by its rate, so that its result is as large as the map.

    >>> seeing(8, 8, 12)[1]  # no neighbour is 12 pixels away on a map of 8
    array([0., 1., 0.])
    """
    reach = rate * np.array([1, 0, 1])
    rows, columns = (np.maximum(0, side - reach) / side for side in (height, width))
    return np.outer(rows, columns)


def idle(height: int, width: int, rate: int) -> NDArray[np.bool_]:
    """The taps that no position of a map lets see it [3, 3]: training on it leaves them as drawn.

    All but the centre, where the rate is the map's side or more.
    """
    return np.asarray(seeing(height, width, rate) == 0)


def fitting_rates(side: int) -> list[int]:
    """Rates for a square map of this side: the paper's, scaled; none where the map is 1 x 1.

    >>> fitting_rates(16), fitting_rates(8)
    ([3, 6, 9], [1, 3, 4])
    """
    scaled = [max(1, round(rate * side / PAPERS_MAP)) for rate in PAPER]
    return [rate for rate in scaled if rate < side]


def energy_of_idle(idle_taps: NDArray[np.bool_], seen: Taps) -> float:
    """Share of a branch's energy that taps left as drawn bring in, before anything is learnt.

    Expected over independent weights of equal variance and a map of even energy: each tap counts
    by the share of positions at which it sees the map.

    Args:
        idle_taps: those that training did not reach [3, 3].
        seen: what all of them see in evaluation [3, 3].
    """
    return float(seen[idle_taps].sum() / seen.sum())


def mean_seeing(maps: Sequence[tuple[int, int]], rate: int) -> Taps:
    """:func:`seeing` over the positions of several maps (height, width) [3, 3]."""
    positions = np.array([height * width for height, width in maps])
    shares = np.stack([seeing(*one, rate) for one in maps])
    return np.asarray(np.tensordot(positions / positions.sum(), shares, 1))
