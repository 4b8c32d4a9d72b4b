"""The local engine: a pool of processes, one per GPU or as many as asked for.

No account and no database: the run folders are the truth, so that after a kill of anything the
same call finishes the study, and two of them on one study share its cells.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from segbench.parallel import cores
from segbench.study.cells import CellProcess, StudyCells, start_cell
from segbench.study.progress import StudyProgress
from segbench.study.spec import Sweep

LOOK = 0.1  # seconds between two looks at the processes
TRY_AGAIN = 2.0  # seconds between two tries to take over what others are at


def run_local(
    runs: StudyCells,
    sweep: Sweep,
    slots: list[dict[str, str]],
    keep_going: bool = True,
) -> StudyProgress:
    """Run what is missing of a study; returns when nothing is left to try.

    Args:
        runs: the study.
        sweep: how a cell's command is made.
        slots: the environment of each place at which one cell runs at a time.
        keep_going: whether a failed cell leaves the others alone.

    Raises:
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; the cells have saved where they are.
    """
    waiting = runs.missing()
    free = list(slots)
    running: list[tuple[CellProcess, dict[str, str]]] = []
    tried: dict[str, float] = {}
    try:
        with StudyProgress(runs, len(slots)) as progress, sigterm_is_ctrl_c():
            while waiting or running:
                for entry in [entry for entry in running if entry[0].ended()]:
                    process, slot = entry
                    running.remove(entry)
                    free.append(slot)
                    progress.ends(process.cell, process.process.returncode)
                if progress.start_no_more(keep_going):
                    waiting = []
                for cell in list(waiting) if free else ():
                    if not free or time.monotonic() - tried.get(cell.name, -TRY_AGAIN) < TRY_AGAIN:
                        continue
                    tried[cell.name] = time.monotonic()
                    if runs.state(cell).complete:
                        waiting.remove(cell)
                        continue
                    started = start_cell(runs, sweep, cell, free[0])
                    if started is None:
                        progress.elsewhere.add(cell.name)
                        continue
                    waiting.remove(cell)
                    progress.elsewhere.discard(cell.name)
                    running.append((started, free.pop(0)))
                    progress.begins(cell)
                progress.refresh()
                time.sleep(LOOK)
    finally:
        for process, _ in running:
            process.process.terminate()  # all at once, then wait for each
        for process, _ in running:
            process.stop()
    return progress


def places(workers: int | None) -> list[dict[str, str]]:
    """The environments of the places to run cells at: the GPUs, or the cores shared out.

    Args:
        workers: how many; by default one per GPU, or one.
    """
    gpus = visible_gpus()
    count = workers or len(gpus) or 1
    slots: list[dict[str, str]] = [{} for _ in range(count)]
    for number, slot in enumerate(slots):
        if gpus:
            slot["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        if count > 1 and "OMP_NUM_THREADS" not in os.environ:
            slot["OMP_NUM_THREADS"] = str(max(1, cores() // count))
    return slots


def visible_gpus() -> list[str]:
    """Names that CUDA_VISIBLE_DEVICES takes, asked without loading torch."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [
            gpu for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if gpu not in ("", "-1")
        ]
    if shutil.which("nvidia-smi") is None:
        return []
    asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


@contextmanager
def sigterm_is_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end an engine as Ctrl-C does: its cells save where they are first."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
