"""How long calls take: interleaved, in blocks, so that a machine's drift hits all alike."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

BLOCK = 0.2  # seconds that a block lasts at least, unless one call takes longer
MOST_CALLS = 50  # in a block

Call = Callable[[], object]


def interleaved(
    calls: Mapping[str, Call], rounds: int, device: torch.device, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    """Time calls in rounds; each round has one block of every call, in an order drawn anew.

    Each is called twice to warm it up; the second call says how many of it make a block.

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
    with torch.cuda.device(device):  # events are recorded on the current one's stream
        begin: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(device)
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize(device)
    return float(begin.elapsed_time(end)) / 1000
