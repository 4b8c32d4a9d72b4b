"""How long calls take: interleaved, in blocks, so that a machine's drift hits all alike."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK = 0.2  # seconds that a block lasts at least, unless one call takes longer
MOST_CALLS = 50  # in a block
DRAWS = 2000  # of the bootstrap
STEADY = 0.1  # spread between the blocks of one call, as a share, above which a machine is noisy

Call = Callable[[], object]


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

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Of the median, by resampling whole blocks: calls within one are not independent."""
        return _interval(np.median(_resampled(self.blocks), axis=1), level)


def ratio(slow: Timing, fast: Timing, level: float = 0.95) -> tuple[float, float, float]:
    """How many times longer ``slow`` takes, with its interval, from blocks of the same rounds."""
    ratios = slow.blocks / fast.blocks
    drawn = np.median(_resampled(ratios), axis=1)
    return float(np.median(ratios)), *_interval(drawn, level)


def _resampled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    chosen = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    return np.asarray(values[chosen])


def _interval(drawn: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def interleaved(
    calls: Mapping[str, Call], rounds: int, device: torch.device, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    """Time calls in rounds; each round has one block of every call, in an order drawn anew.

    A call is warmed up once, which also says how many of it make a block.

    Args:
        calls: what to time, by name.
        rounds: how many blocks of each.
        device: where they run; on CUDA the clock is the device's own.
        rng: where the order comes from.

    Yields:
        name and median seconds of each block.
    """
    sizes = {}
    for name, call in calls.items():
        timed(call, device)
        sizes[name] = int(np.clip(BLOCK / timed(call, device), 1, MOST_CALLS))
    for _ in range(rounds):
        for name in rng.permutation(list(calls)):
            block = [timed(calls[name], device) for _ in range(sizes[name])]
            yield str(name), float(np.median(block))


def timed(call: Call, device: torch.device) -> float:
    """Seconds from the start of ``call`` to the end of all that it set off on the device."""
    if device.type != "cuda":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    begin: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(device)
    begin.record()
    call()
    end.record()
    torch.cuda.synchronize(device)
    return float(begin.elapsed_time(end)) / 1000
