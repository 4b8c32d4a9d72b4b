"""Many files at a time, with a bar for whoever waits."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], what: str
) -> Iterator[Result]:
    """The results in order; decoding and hashing leave other threads the processor.

    Whoever stops early, by an exception too, stops what has not begun.
    """
    with ThreadPoolExecutor(cores()) as pool:
        yield from watched(pool.map(work, items), len(items), what)


def watched(results: Iterable[Result], total: int, what: str) -> Iterator[Result]:
    """The results, with a bar on stderr if that is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(results, total, description=what)
