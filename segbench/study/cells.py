"""The one way every engine runs a cell: a claimed run folder and a process that writes it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from segbench.claim import Claim
from segbench.errors import InputError
from segbench.runs import RunFolder
from segbench.study.leash import PARENT
from segbench.study.plan import Plan, find_cells
from segbench.study.spec import Cell, Sweep

LOGS = "logs"
PATIENCE = 30.0  # seconds that a run is given to save where it is


class State(StrEnum):
    """Where a cell stands, by its run folder alone."""

    WAITING = "waiting"
    STARTED = "started"  # running somewhere, or stopped on the way
    FAILED = "failed"
    DONE = "done"
    DIVERGED = "diverged"  # done too: the same command would diverge again

    @property
    def complete(self) -> bool:
        return self in (State.DONE, State.DIVERGED)


STATES = {
    "running": State.STARTED,
    "failed": State.FAILED,
    "finished": State.DONE,
    "diverged": State.DIVERGED,
}


@dataclass(frozen=True)
class StudyCells:
    """The cells of a plan with their run folders."""

    plan: Plan
    folders: dict[str, RunFolder]

    @classmethod
    def of(cls, plan: Plan) -> "StudyCells":
        """Find each cell's folder.

        Raises:
            InputError: a run.json that cannot be read.
        """
        paths = [path.parent for path in sorted(plan.folder.glob("*/run.json"))]
        records = {path: RunFolder(path).read_record() for path in paths}
        return cls(plan, {cell.name: run for cell, run in find_cells(plan, records)})

    def state(self, cell: Cell) -> State:
        run = self.folders[cell.name]
        if not run.record.exists():
            return State.WAITING
        return STATES[run.read_record()["status"]]

    def missing(self) -> list[Cell]:
        """The cells that a further call would run."""
        return [cell for cell in self.plan.cells if not self.state(cell).complete]

    def log(self, cell: Cell) -> Path:
        """What the cell's processes printed."""
        return self.plan.folder / LOGS / f"{cell.name}.txt"


@dataclass
class CellProcess:
    """A cell that runs: its process, and the claim that both hold on its folder."""

    cell: Cell
    run: RunFolder
    process: subprocess.Popen[bytes]
    claim: Claim

    def ended(self) -> bool:
        """Whether the process is gone; then the claim is given back."""
        if self.process.poll() is None:
            return False
        self.claim.release()
        return True

    def stop(self) -> None:
        """SIGTERM, upon which a run saves where it is; SIGKILL where that takes too long."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.claim.release()


def start_cell(
    runs: StudyCells, sweep: Sweep, cell: Cell, env: dict[str, str]
) -> CellProcess | None:
    """Start the process of a cell, or None where it is complete or another process has it.

    Call it from a thread that lives as long as the cell: the process dies with it.

    Raises:
        InputError: a configuration file is no longer what the plan was made with.
    """
    run = runs.folders[cell.name]
    runs.plan.check_files(sweep.contents())
    claim = Claim.on(run.path)
    if claim is None:
        return None
    try:
        if runs.state(cell).complete:  # by another engine, since we last looked
            claim.release()
            return None
        log = runs.log(cell)
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", *sweep.command(cell, run.path)],
                env=os.environ | env | claim.for_a_child() | {PARENT: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                pass_fds=[claim.handle],
                start_new_session=True,  # Ctrl-C is for the engine, which passes it on
            )
    except BaseException:
        claim.release()
        raise
    return CellProcess(cell, run, process, claim)


def last_lines(log: Path, count: int = 5) -> list[str]:
    """The end of what a cell printed, for who asks why it failed."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]


def check_folder(folder: Path) -> None:
    """Refuse a folder for a study that is none.

    Raises:
        InputError: it is a file, or holds runs without a plan.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give the study another --out")
    if folder.is_dir() and not (folder / "study.yaml").exists() and any(folder.glob("*/run.json")):
        raise InputError(
            f"{folder}: holds runs that no plan asked for; give the study another --out"
        )
