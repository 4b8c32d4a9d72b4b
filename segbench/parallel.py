"""Many files or images at a time, with a bar for whoever waits."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

from rich.progress import Progress

from segbench.arguments import progress_console

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """The results in order, by processes as for :func:`begun`."""
    with begun(work, items, workers) as results:
        yield from results


@contextmanager
def begun(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Iterator[Result]]:
    """The results in order, of work that goes on while the caller does something else.

    It is done by processes of one core each, two items for each at least; ``work`` and items are
    pickled. What is left when the context is left is dropped. Where that makes no two processes
    it is done here, as results are taken.
    """
    workers = min(workers, len(items) // 2)
    if workers < 2:
        yield map(work, items)
        return
    futures = [_pool(workers).submit(work, item) for item in items]
    try:
        yield (future.result() for future in futures)
    finally:
        for future in futures:
            future.cancel()


@cache
def _pool(workers: int) -> ProcessPoolExecutor:
    # kept to the end: to start processes that have loaded everything takes seconds
    return ProcessPoolExecutor(workers, get_context("spawn"), _begin)


def _begin() -> None:
    """One core for each process, which ends when the one that started it is killed."""
    import cv2  # not everyone who counts cores has pictures to read

    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


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
