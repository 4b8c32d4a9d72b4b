"""``segbench errors STUDY``: what the networks get wrong, and why."""

import argparse
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from segbench.analysis import findings
from segbench.analysis.anatomy import Errors, look_into
from segbench.analysis.compare import means_of
from segbench.analysis.pixels import tasks_of
from segbench.analysis.study import StudyArm, StudyRuns, read_study
from segbench.arguments import Arguments, output_file, positive, tables_console
from segbench.errors import InputError
from segbench.files import as_json, write_atomic
from segbench.parallel import cores
from segbench.report.gallery import write_gallery

BOUNDARY = 8.0  # pixels from a true border, within which an error counts as its
SHOWN = 12  # rows of the table of flows


def main(argv: list[str]) -> None:
    """Say what an arm of a study gets wrong, how much that costs, and why.

    From the stored predictions: which classes are taken for which, at borders, inside segments or
    as whole segments; what the stride of the network allows; which objects are missed; whether
    colour could tell the classes apart; whether all seeds fail alike; which labels to look at.
    """
    options = _options(argv)
    study = read_study(options.study)
    arm = best_arm(study, options.arm)
    tasks = tasks_of(study, arm, study.arms)
    found = look_into(study, arm, tasks, options.boundary, options.workers)
    console = tables_console()
    for finding in found.findings:
        console.print(finding.sentence, markup=False)
    console.print(flow_table(found))
    console.print(class_table(found))
    console.print(border_table(found))
    if found.influences:
        console.print(influence_table(found))
    if options.json:
        write_atomic(options.json, as_json(found.as_json()))
    if options.gallery:
        number = write_gallery(
            options.gallery, study, tasks, found.flows, options.boundary, options.workers
        )
        print(f"{options.gallery}: {number} crops of the largest confusions")


def flow_table(found: Errors) -> Table:
    """Which class is taken for which, what costs most first."""
    table = Table(title=f"{escape(found.arm)}: what is taken for what [95 %]")
    for column in ("truth", "called"):
        table.add_column(column, overflow="fold")
    for column in ("IoU lost", "of its missed", "of the other's false", "border", "inside"):
        table.add_column(column, justify="right")
    table.add_column("whole segments", justify="right")
    for flow in found.flows[:SHOWN]:
        shares = (flow.share_of_missed, flow.share_of_false)
        table.add_row(
            escape(flow.truth),
            escape(flow.predicted),
            f"{flow.iou_lost:.3f}",
            *(escape(f"{share[0]:.0%} {findings.interval(share)}") for share in shares),
            *(f"{share:.0%}" for share in (flow.boundary, flow.extent, flow.segment)),
        )
    return table


def class_table(found: Errors) -> Table:
    """IoU against frequency, and what each kind of error costs."""
    lost = ", ".join(f"{name} {value:+.3f}" for name, value in found.kinds.items())
    table = Table(title=f"IoU gained if one kind of error were corrected (mean IoU: {lost})")
    table.add_column("class", overflow="fold")
    for column in ("frequency", "IoU", "boundary", "extent", "whole segments"):
        table.add_column(column, justify="right")
    sizes = list(found.classes[0].objects)
    for size in sizes:
        table.add_column(f"found of {size} px", justify="right")
    for one in found.classes:
        low, high = one.iou[1:]
        table.add_row(
            escape(one.name),
            f"{one.frequency:.1%}",
            escape(f"{one.iou[0]:.3f} [{low:.3f}, {high:.3f}]"),
            *(f"{value:+.3f}" for value in one.lost_by_kind.values()),
            *(f"{one.found[s]:.0%} of {one.objects[s]}" if one.objects[s] else "" for s in sizes),
        )
    return table


def border_table(found: Errors) -> Table:
    """Boundary IoU by width, error rate by distance to the border, and the stride ceiling."""
    table = Table(title="Borders: Boundary IoU, error rate by distance, and what a stride allows")
    table.add_column("class", overflow="fold")
    first = found.classes[0]
    for width in first.boundary_iou:
        table.add_column(f"band {width}{'' if '%' in width else ' px'}", justify="right")
    for near in first.near:
        table.add_column(f"wrong at {near} px", justify="right")
    table.add_column("in crops", justify="right")
    for stride in found.ceilings.best:
        table.add_column(f"best there at stride {stride}", justify="right")
    for one in found.classes:
        table.add_row(
            escape(one.name),
            *(_number(value) for value in one.boundary_iou.values()),
            *(_percent(value) for value in one.near.values()),
            _number(found.ceilings.reached[one.name]),
            *(_number(by_class[one.name]) for by_class in found.ceilings.best.values()),
        )
    return table


def influence_table(found: Errors) -> Table:
    """The test images that carry the verdicts."""
    table = Table(title="Images that carry a verdict: the part of the difference due to them")
    for column in ("contrast", "images", "part", "verdict without"):
        table.add_column(column, overflow="fold")
    for one in found.influences:
        flips = " (flips)" if one.flips else ""
        row = (f"{one.arm} - {one.baseline}", one.group, f"{one.share:+.4f}", one.verdict + flips)
        table.add_row(*map(escape, row))
    return table


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.0%}"


def best_arm(study: StudyRuns, name: str | None) -> StudyArm:
    """The arm that was asked for, or the one with the highest mean IoU.

    Raises:
        InputError: there is none of that name, or all runs diverged.
    """
    scored = {arm.name: arm for arm in study.arms if len(arm.counts())}
    if not scored:
        raise InputError(
            f"{study.folders[0]}: every seed of every arm diverged, so that there is no network "
            "whose errors tell anything; train longer, or lower model.lr"
        )
    if name is None:
        return max(scored.values(), key=lambda arm: means_of(arm)["mean_iou"])
    if name not in scored:
        raise InputError(f"--arm: {name}; one of {', '.join(scored)}")
    return scored[name]


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("segbench errors", main.__doc__)
    parser.add_argument("study", type=Path, nargs="+", help="a study's folder, or several of one")
    parser.add_argument("--arm", help="which one (that with the highest mean IoU)")
    parser.add_argument(
        "--boundary",
        type=float,
        default=BOUNDARY,
        help=f"pixels from a border within which an error is its ({BOUNDARY:g})",
    )
    parser.add_argument(
        "--workers", type=positive, default=cores(), help="processes (one per core)"
    )
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write it all as json")
    parser.add_argument(
        "--gallery", type=Path, metavar="DIR", help="write the worst crops as pictures"
    )
    options = parser.parse_args(argv)
    if not options.boundary >= 0:
        raise InputError(f"--boundary: {options.boundary}; give 0 or more pixels")
    return options
