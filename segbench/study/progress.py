"""What a person sees while a study runs: a live table, or a line for each event."""

import time
from collections import Counter
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from segbench.arguments import progress_console
from segbench.runs import RunFolder
from segbench.study.cells import State, StudyCells, last_lines
from segbench.study.spec import Cell

START_UP = 8.0  # seconds that a cell's process needs before it trains, about
REFRESH = 1.0  # seconds between two looks at the run folders


class StudyProgress:
    """Done, running, waiting and failed cells, the best val so far, and the time that remains.

    Scores of the test set are not shown: a study is looked at when its plan says so.
    """

    def __init__(self, runs: StudyCells, workers: int) -> None:
        self.runs, self.workers = runs, workers
        self.console = progress_console()
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.running: dict[str, float] = {}
        self.ended: set[str] = set()
        self.failed: dict[str, int] = {}
        self.elsewhere: set[str] = set()
        self._shown = 0.0

    def __enter__(self) -> "StudyProgress":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.live.stop()

    def begins(self, cell: Cell) -> None:
        self.running[cell.name] = time.monotonic()

    def ends(self, cell: Cell, code: int) -> None:
        """A cell's process has ended; failed, unless its run folder is complete."""
        now = time.monotonic()
        seconds = now - self.running.pop(cell.name, now)
        self.ended.add(cell.name)
        state = self.runs.state(cell)
        if not state.complete:
            self.failed[cell.name] = code
        said = f"{state.value}, best val {_best(self.runs.folders[cell.name]) or 'none'}"
        self._say(f"{cell.name}: {said if state.complete else f'failed ({code})'}", seconds)

    def watch(self, runs: StudyCells) -> None:
        """Find out from the run folders what began and ended: for cells that others run."""
        self.runs = runs
        for cell in runs.plan.cells:
            state, running = runs.state(cell), cell.name in self.running
            if state is State.STARTED and not running:
                self.begins(cell)
            elif running and state is not State.STARTED:
                self.ends(cell, 1)
        self.refresh()

    def refresh(self) -> None:
        if self.console.is_terminal and time.monotonic() - self._shown > REFRESH:
            self._shown = time.monotonic()
            self.live.update(self._view(), refresh=True)

    def start_no_more(self, keep_going: bool) -> bool:
        """Whether the cells that wait are better left alone.

        One that fails need not stop the others; but where all so far died of bad input (exit
        code 2: an unknown key, say), the rest would die of the same.
        """
        all_of_bad_input = self.ended == self.failed.keys() and set(self.failed.values()) == {2}
        return bool(self.failed) and (not keep_going or all_of_bad_input)

    def report_failures(self) -> None:
        """The last lines of each failed cell, and where the rest stands."""
        for cell in self.runs.plan.cells:
            if cell.name in self.failed:
                log = self.runs.log(cell)
                name, where = escape(cell.name), escape(str(log))
                self.console.print(f"[red]{name} failed[/red]; all of it: {where}", soft_wrap=True)
                for line in last_lines(log):
                    self.console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)

    def _say(self, text: str, seconds: float) -> None:
        complete = sum(self.runs.state(cell).complete for cell in self.runs.plan.cells)
        self.console.print(
            f"{text}; {seconds:.0f} s ({complete} of {len(self.runs.plan.cells)} cells done"
            f"{self._remaining()})",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def _remaining(self) -> str:
        cells = self.runs.plan.cells
        seconds = [
            sum(record["seconds"].values()) + START_UP
            for cell in cells
            if (run := self.runs.folders[cell.name]).record.exists()
            and "seconds" in (record := run.read_record())
            and self.runs.state(cell).complete
        ]
        if not seconds:
            return ""
        left = sum(
            1 - _progress(self.runs.folders[cell.name])
            for cell in cells
            if not self.runs.state(cell).complete and cell.name not in self.failed
        )
        minutes = left * sum(seconds) / len(seconds) / max(1, self.workers) / 60
        return f", about {minutes:.0f} min left" if left else ""

    def _view(self) -> Group:
        cells = self.runs.plan.cells
        states = {cell.name: self.runs.state(cell) for cell in cells}
        counts = Counter(
            "running" if name in self.running
            else "failed" if name in self.failed
            else "elsewhere" if name in self.elsewhere
            else "done" if state.complete
            else "waiting"
            for name, state in states.items()
        )  # fmt: skip
        line = ", ".join(f"{n} {word}" for word, n in counts.items())
        table = Table(box=None, padding=(0, 2, 0, 0))
        for column in ("running", "epoch", "best val", "seconds"):
            table.add_column(column, justify="left" if column == "running" else "right")
        for name, since in self.running.items():
            run = self.runs.folders[name]
            done, planned = _epochs(run)
            table.add_row(
                escape(name),
                f"{done}/{planned}" if planned else "",
                _best(run) or "",
                f"{time.monotonic() - since:.0f}",
            )
        return Group(Text(f"{self.runs.plan.folder}: {line}{self._remaining()}"), table)


def _best(run: RunFolder) -> str | None:
    rows = run.read_metrics() if run.metrics.is_file() else []
    return f"{max(row['val/mean_iou'] for row in rows):.3f}" if rows else None


def _epochs(run: RunFolder) -> tuple[int, int]:
    if not run.config.exists() or not run.metrics.exists():
        return 0, 0
    return len(run.read_metrics()), int(run.read_config()["trainer"]["max_epochs"])


def _progress(run: RunFolder) -> float:
    done, planned = _epochs(run)
    return done / planned if planned else 0.0
