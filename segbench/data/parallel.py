"""Many files at a time, with a bar for whoever waits."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from rich.progress import Progress

from segbench.arguments import progress_console

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], total: int, what: str
) -> Iterator[Result]:
    """The results in order; decoding and hashing leave other threads the processor.

    Items are taken as they are needed, a few ahead. Whoever stops early, by an exception too,
    stops what has not begun.
    """
    return watched(_in_threads(work, items), total, what)


def _in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(cores()) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > 2 * cores():
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def watched(results: Iterable[Result], total: int | None, what: str) -> Iterator[Result]:
    """The results, with a bar on stderr if that is a terminal."""
    console = progress_console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(results, total, description=what)
