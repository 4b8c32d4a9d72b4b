"""Medians of timings with intervals, from blocks that were measured in turn."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000  # of the bootstrap


@dataclass(frozen=True)
class Timing:
    """One call's seconds by block: the median of each, in the order they were measured [rounds].

    Blocks of the same round of two calls were measured next to each other.
    """

    blocks: NDArray[np.float64]

    @property
    def median(self) -> float:
        return float(np.median(self.blocks))

    @property
    def spread(self) -> float:
        """Half of what the middle 80 % of the blocks cover, as a share of the median."""
        low, high = np.quantile(self.blocks, (0.1, 0.9))
        return float((high - low) / 2 / self.median)

    def drawn(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Medians of resampled blocks [DRAWS]: calls within a block are not independent."""
        chosen = rng.integers(len(self.blocks), size=(DRAWS, len(self.blocks)))
        return np.asarray(np.median(self.blocks[chosen], axis=1))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Of the median."""
        low, high = np.quantile(
            self.drawn(np.random.default_rng(0)), ((1 - level) / 2, (1 + level) / 2)
        )
        return float(low), float(high)


def ratio(slow: Timing, fast: Timing, level: float = 0.95) -> tuple[float, float, float]:
    """How many times longer ``slow`` takes, with its interval, from blocks of the same rounds."""
    ratios = Timing(slow.blocks / fast.blocks)
    return ratios.median, *ratios.interval(level)
