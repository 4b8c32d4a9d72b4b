"""``segbench runs STUDY``: what lies in a study, run by run."""

from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from segbench.arguments import Arguments, tables_console
from segbench.errors import InputError
from segbench.runs import RunFolder, find_runs


def main(argv: list[str]) -> None:
    """Print one row per run: its network, scores, training time and size."""
    parser = Arguments("segbench runs", main.__doc__)
    parser.add_argument("study", type=Path, help="a folder of run folders")
    study = parser.parse_args(argv).study
    runs = find_runs(study)
    console = tables_console()
    console.print(runs_table(study, runs))
    console.print(
        "Scores of one seed each: differences between rows say little without more seeds.",
        style="dim",
    )


def runs_table(study: Path, runs: list[RunFolder]) -> Table:
    """One row per run, one column per class where all runs share their classes.

    Raises:
        InputError: a run that cannot be read.
    """
    records = [run.read_record() for run in runs]
    ious = [_class_ious(record) for record in records]
    classes = next((list(iou) for iou in ious if iou), [])
    if any(iou and list(iou) != classes for iou in ious):
        raise InputError(f"{study}: its runs have different classes and cannot share a table")
    table = Table(title=f"Test scores (IoU) in {escape(str(study))}")
    table.add_column("run", overflow="fold")
    table.add_column("status")
    columns = ("mean IoU", "val", *classes, "steps", "fit s", "images/s", "M param.", "MB")
    for column in columns:
        table.add_column(escape(column), justify="right")
    for run, record, iou in zip(runs, records, ious, strict=True):
        table.add_row(escape(run.path.name), record["status"], *_cells(record, iou, classes))
    return table


def _cells(record: dict[str, Any], iou: dict[str, float | None], classes: list[str]) -> list[str]:
    size = [f"{record['parameters'] / 1e6:.2f}", f"{record['size_mb']:.1f}"]
    scores = record.get("scores", {})
    return [
        _number(scores.get("test", {}).get("mean_iou"), 3),
        _number(scores.get("val", {}).get("mean_iou"), 3),
        *(_number(iou.get(name), 2) for name in classes),
        _number(record.get("steps"), 0),
        _number(record.get("seconds", {}).get("fit"), 0),
        _number(record.get("images_per_second"), 1),
        *size,
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _class_ious(record: dict[str, Any]) -> dict[str, float | None]:
    test = record.get("scores", {}).get("test", {})
    return {k.removeprefix("iou/"): v for k, v in test.items() if k.startswith("iou/")}
