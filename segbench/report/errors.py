"""``segbench errors STUDY``: what the networks get wrong, and why."""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from segbench import metrics
from segbench.analysis import errors, findings
from segbench.analysis.ceiling import ceiling, crops_of_classes
from segbench.analysis.compare import compare
from segbench.analysis.errors import ClassErrors, Flow
from segbench.analysis.findings import Finding
from segbench.analysis.influence import Influence, influences
from segbench.analysis.pixels import (
    Area,
    Counts,
    Task,
    by_image,
    errors_of,
    read_ids,
    summed,
    tasks_of,
)
from segbench.analysis.questions import rules_of
from segbench.analysis.segments import Ids
from segbench.analysis.separability import sample_pixels, separability
from segbench.analysis.study import StudyArm, StudyRuns, read_study
from segbench.arguments import Arguments, output_file
from segbench.errors import InputError
from segbench.files import write_atomic
from segbench.report.gallery import write_gallery

BOUNDARY = 8.0  # pixels from a true border, within which an error counts as its
STRIDES = (8, 16, 32)
CROP = 192  # of the truth, for the stride ceiling
CROPS = 3  # for each class
PAIRS = 6  # of classes, whose colours are compared
PIXELS = 200  # of a class in an image, for that
SHOWN = 12  # rows of the table of flows


@dataclass(frozen=True)
class Errors:
    """All that is known of what an arm gets wrong."""

    arm: str
    flows: list[Flow]
    classes: list[ClassErrors]
    kinds: dict[str, float]
    ceilings: dict[int, dict[str, float]]
    separable: dict[tuple[str, str], float | None]
    doubts: list[Area]
    influences: list[Influence]
    findings: list[Finding]

    def as_json(self) -> dict[str, Any]:
        """``confusion``, ``classes``, ``findings`` and what stands beside them."""
        ceilings = self.ceilings.items()
        return {
            "arm": self.arm,
            "confusion": [asdict(flow) for flow in self.flows],
            "classes": [
                _without_nan(asdict(one))
                | {"stride_ceiling": {str(s): by_class[one.name] for s, by_class in ceilings}}
                | {"missed_objects": {
                    size: round(number * (1 - one.found[size])) if number else 0
                    for size, number in one.objects.items()
                }}
                for one in self.classes
            ],
            "iou_lost_by_kind": self.kinds,
            "colour_auc": [
                {"classes": list(pair), "auc": auc} for pair, auc in self.separable.items()
            ],
            "doubtful_labels": [asdict(area) for area in self.doubts],
            "influence": [asdict(one) for one in self.influences],
            "findings": [asdict(one) for one in self.findings],
        }  # fmt: skip


def main(argv: list[str]) -> None:
    """Say what an arm of a study gets wrong, how much that costs, and why.

    From the stored predictions: which classes are taken for which, at borders, inside segments or
    as whole segments; what the stride of the network allows; which objects are missed; whether
    colour could tell the classes apart; whether all seeds fail alike; which labels to look at.
    """
    options = _options(argv)
    study = read_study(options.study)
    arm = _arm(study, options.arm)
    tasks = tasks_of(study, arm)
    found = look_into(study, arm, tasks, options.boundary, options.workers)
    console = Console()
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no edge to wrap at
    for finding in found.findings:
        console.print(finding.sentence, markup=False)
    console.print(flow_table(found))
    console.print(class_table(found))
    console.print(border_table(found))
    if found.influences:
        console.print(influence_table(found))
    if options.json:
        text = json.dumps(found.as_json(), indent=1, allow_nan=False, ensure_ascii=False)
        write_atomic(options.json, text + "\n")
    if options.gallery:
        number = write_gallery(
            options.gallery, study, tasks, found.flows, options.boundary, options.workers
        )
        print(f"{options.gallery}: {number} crops of the largest confusions")


def look_into(
    study: StudyRuns, arm: StudyArm, tasks: Sequence[Task], boundary: float, workers: int
) -> Errors:
    """Everything that is to be known of an arm's errors."""
    images = []
    number = len(study.classes)
    look = partial(errors_of, classes=number, width=boundary)
    stream = by_image(look, tasks, workers)
    for one in track(stream, "predictions", total=len(tasks), transient=True):
        images.append(one)
    counts = summed(images)
    flows, classes = errors.flows(study, counts), errors.classes(study, counts)
    ceilings = _ceilings(study, tasks)
    separable = _separable(study, tasks, flows)
    doubts = sorted(
        (area for one in images for area in one.doubts), key=lambda a: -a.pixels * a.share
    )
    rules = rules_of(study, {})
    influence = influences(study, rules, compare(study, rules)) if len(study.arms) > 1 else []
    return Errors(
        arm.name,
        flows,
        classes,
        errors.kinds_total(counts),
        ceilings,
        separable,
        doubts,
        influence,
        _findings(arm, counts, flows, classes, ceilings, separable, len(doubts)),
    )


def _findings(
    arm: StudyArm,
    counts: dict[str, Counts],
    flows: list[Flow],
    classes: list[ClassErrors],
    ceilings: dict[int, dict[str, float]],
    separable: dict[tuple[str, str], float | None],
    doubts: int,
) -> list[Finding]:
    seeds = counts["flow"].shape[1]
    together = errors.agreement(counts)
    pixels, without = errors.without_doubtful_labels(counts)
    stride = arm.seeds[0].runs[0].read_config()["model"].get("output_stride")
    found = [
        *findings.of_flows(flows, seeds, separable),
        *findings.of_ceilings(classes, ceilings, stride),
        *findings.of_objects(classes),
        findings.of_frequency(classes),
        findings.of_agreement(together, seeds),
        findings.of_labels(pixels, doubts, together.mean_iou, without),
    ]
    return sorted((one for one in found if one), key=lambda one: -one.iou_lost)


def _ceilings(study: StudyRuns, tasks: Sequence[Task]) -> dict[int, dict[str, float]]:
    number = len(study.classes)
    truths = (read_ids(task.truth) for task in tasks)
    crops = crops_of_classes(truths, number, CROP, CROPS, np.random.default_rng(0))
    found = {}
    for stride in track(STRIDES, "stride ceilings", transient=True):
        iou = metrics.class_iou(ceiling(crops, stride, number))
        found[stride] = dict(zip(study.classes, map(float, iou), strict=True))
    return found


def _separable(
    study: StudyRuns, tasks: Sequence[Task], flows: Sequence[Flow]
) -> dict[tuple[str, str], float | None]:
    pairs: dict[tuple[str, str], float | None] = {}
    for flow in flows:
        if len(pairs) < PAIRS:
            first, second = sorted((flow.truth, flow.predicted))
            pairs[first, second] = None
    if not pairs:
        return pairs
    images = [_image_and_truth(task) for task in tasks]
    names = {name: number for number, name in enumerate(dict.fromkeys(study.group_names))}
    groups = [names[name] for name in study.group_names]
    if len(names) < 2:  # one flight: at least the images are apart
        groups = list(range(len(tasks)))
    rng = np.random.default_rng(0)
    sample = sample_pixels(images, groups, len(study.classes), PIXELS, rng)
    for first, second in pairs:
        ids = (study.classes.index(name) for name in (first, second))
        pairs[first, second] = separability(sample, *ids)
    return pairs


def _image_and_truth(task: Task) -> tuple[Ids, Ids]:
    """A test image as it is stored, reduced, with its truth at that size."""
    path = task.truth.parent.parent / "image" / f"{task.name}.jpg"
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise InputError(f"{path}: the study keeps no readable picture of this test image")
    truth = cv2.resize(
        read_ids(task.truth), image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT
    )
    return np.asarray(image, dtype=np.uint8), np.asarray(truth, dtype=np.uint8)


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
    for stride in found.ceilings:
        table.add_column(f"best at stride {stride}", justify="right")
    for one in found.classes:
        table.add_row(
            escape(one.name),
            *(_number(value) for value in one.boundary_iou.values()),
            *(_percent(value) for value in one.near.values()),
            *(_number(by_class[one.name]) for by_class in found.ceilings.values()),
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


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value


def _arm(study: StudyRuns, name: str | None) -> StudyArm:
    """The arm that was asked for, or the one with the highest mean IoU."""
    scored = {arm.name: arm for arm in study.arms if len(arm.counts())}
    if not scored:
        raise InputError(f"{study.folders[0]}: all of its runs diverged")
    if name is None:
        return max(
            scored.values(), key=lambda arm: float(metrics.mean_iou(arm.counts().sum(1)).mean())
        )
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
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (one per core)"
    )
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write it all as json")
    parser.add_argument(
        "--gallery", type=Path, metavar="DIR", help="write the worst crops as pictures"
    )
    options = parser.parse_args(argv)
    if not options.boundary >= 0:
        raise InputError(f"--boundary: {options.boundary}; give 0 or more pixels")
    return options
