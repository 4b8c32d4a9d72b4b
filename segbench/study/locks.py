"""One engine at a time settles a study's plan; any number of them run it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segbench.claim import lock
from segbench.study.plan import Plan

PLANNING, RUNNING = ".planning.lock", ".running.lock"


@contextmanager
def alone_at(folder: Path) -> Iterator[None]:
    """Nobody else writes a study's plan, or what belongs to it, meanwhile."""
    handle = lock(folder / PLANNING, fcntl.LOCK_EX)
    assert handle is not None  # it waits for its turn
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def engine_at(folder: Path, settle: Callable[[bool], Plan]) -> Iterator[Plan]:
    """Settle the plan of a study, write it, and be one of the engines that run it.

    Args:
        folder: the study's; made where it is missing, and taken away where no plan comes of it.
        settle: gives the plan, told whether no other engine is running the study.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    running: int | None = None
    try:
        with alone_at(folder):
            running = lock(folder / RUNNING, fcntl.LOCK_EX | fcntl.LOCK_NB)
            idle = running is not None
            if running is None:
                running = lock(folder / RUNNING, fcntl.LOCK_SH)
            assert running is not None
            plan = settle(idle)
            plan.write()
            fcntl.flock(running, fcntl.LOCK_SH)
        yield plan
    finally:
        if running is not None:
            os.close(running)
        if made and not (folder / "study.yaml").exists():
            with suppress(OSError):
                for name in (PLANNING, RUNNING):
                    (folder / name).unlink(missing_ok=True)
                for path in made:
                    path.rmdir()
