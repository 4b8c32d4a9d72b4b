"""What the networks get wrong, and what it costs: flows between classes, borders, objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench import metrics
from segbench.analysis import stats
from segbench.analysis.pixels import BANDS, DIAGONAL, NEAR, SIZES, Counts
from segbench.analysis.segments import Kind
from segbench.analysis.stats import Arm
from segbench.analysis.study import StudyRuns

Floats = NDArray[np.float64]
Interval = tuple[float, float, float]
"""A value with the bounds of its 95 % interval."""


@dataclass(frozen=True)
class Flow:
    """The pixels of one class that are called another.

    Args:
        truth: the class they are of.
        predicted: what they are called.
        pixels: how many, a mean over seeds.
        share_of_missed: of all pixels of ``truth`` that are called something else.
        share_of_false: of all pixels that are called ``predicted`` and are not.
        boundary, extent, segment: shares of the flow by kind of error.
        iou_lost: the part of what the IoU of ``truth`` lacks to 1 that these pixels are; what it
            would be without them is the sum over its flows and those of others into it.
        leading: in how many seeds it is the largest share of what ``truth`` misses.
    """

    truth: str
    predicted: str
    pixels: float
    share_of_missed: Interval
    share_of_false: Interval
    boundary: float
    extent: float
    segment: float
    iou_lost: float
    leading: int


@dataclass(frozen=True)
class ClassErrors:
    """One class.

    Args:
        name: of it.
        iou: with its interval.
        frequency: share of the true pixels.
        lost_by_kind: IoU gained if the errors of one kind were corrected, by kind.
        boundary_iou: by width of the band.
        near: error rate of its pixels by distance to the true border.
        objects: number of true segments by size.
        found: share of them that was found, by size; NaN where there is none.
        replaced_by: what took the place of most of the others, or nothing.
    """

    name: str
    iou: Interval
    frequency: float
    lost_by_kind: dict[str, float]
    boundary_iou: dict[str, float]
    near: dict[str, float]
    objects: dict[str, int]
    found: dict[str, float]
    replaced_by: str


@dataclass(frozen=True)
class Agreement:
    """Whether the seeds fail in the same places.

    Args:
        always: share of the wrong pixels of a seed on which every seed is wrong: more seeds do
            not help there, other data may.
        mean_iou: mean over the seeds.
        ensemble: mean IoU of their vote.
    """

    always: float
    mean_iou: float
    ensemble: float


def costliest(confusion: Counts) -> list[tuple[int, int]]:
    """All pairs of a class and what it is called that occur, what costs most IoU first.

    Args:
        confusion: counts of one arm [S, K, K].
    """
    lost = _lost_to_each(confusion)
    order = np.argsort(-lost, axis=None, kind="stable")
    pairs = zip(*np.unravel_index(order, lost.shape), strict=True)
    return [(int(i), int(j)) for i, j in pairs if lost[i, j] > 0]


def flows(study: StudyRuns, counts: dict[str, Counts]) -> list[Flow]:
    """All flows between classes, what costs most first.

    Args:
        study: whose classes and groups they are.
        counts: of one arm, by image (:func:`segbench.analysis.pixels.summed`).
    """
    by_group = _by_group(study, counts["flow"])
    missed = stats.score_arm(by_group, lambda f: _share(f.sum(-1), axis=-1))
    false = stats.score_arm(by_group, lambda f: _share(f.sum(-1), axis=-2))
    flow = counts["flow"].sum(0)
    confusion = counts["confusion"].sum(0)
    lost = _lost_to_each(confusion)
    per_seed = _share(flow.sum(-1), axis=-1)
    mean = flow.mean(0)
    found = []
    for i, truth in enumerate(study.classes):
        for j, predicted in enumerate(study.classes):
            total = mean[i, j].sum()
            if total == 0:
                continue
            kinds = mean[i, j] / total
            leading = int((per_seed[:, i].argmax(-1) == j).sum())
            found.append(
                Flow(
                    truth=truth,
                    predicted=predicted,
                    pixels=float(total),
                    share_of_missed=_interval(missed, i, j),
                    share_of_false=_interval(false, i, j),
                    boundary=float(kinds[Kind.BOUNDARY]),
                    extent=float(kinds[Kind.EXTENT]),
                    segment=float(kinds[Kind.SEGMENT]),
                    iou_lost=float(lost[i, j]),
                    leading=leading,
                )
            )
    return sorted(found, key=lambda one: -one.iou_lost)


def classes(study: StudyRuns, counts: dict[str, Counts]) -> list[ClassErrors]:
    """Each class with truth pixels, in the order of the data set."""
    confusion, flow = counts["confusion"].sum(0), counts["flow"].sum(0)
    iou = stats.score_arm(_by_group(study, counts["confusion"]), metrics.class_iou)
    by_kind = [metrics.class_iou(_moved_to_diagonal(confusion, flow[..., kind])) for kind in Kind]
    plain = metrics.class_iou(confusion)
    hits, union = counts["band_hits"].sum(0), counts["band_union"].sum(0)
    bands = (_ratio(hits, union)).mean(0)
    near = _ratio(counts["near_wrong"].sum(0).mean(0), counts["near_all"].sum(0))
    objects, found = counts["objects"].sum(0), counts["found"].sum(0).mean(0)
    replaced = counts["replaced"].sum((0, 1))
    truth = confusion[0].sum(1)
    result = []
    for k, name in enumerate(study.classes):
        if truth[k] == 0:
            continue
        lost = {kind.name.lower(): _mean(one[:, k] - plain[:, k])
                for kind, one in zip(Kind, by_kind, strict=True)}  # fmt: skip
        result.append(
            ClassErrors(
                name=name,
                iou=_interval(iou, k),
                frequency=float(truth[k] / truth.sum()),
                lost_by_kind=lost,
                boundary_iou=dict(zip(BAND_NAMES, map(float, bands[k]), strict=True)),
                near=dict(zip(NEAR_NAMES, map(float, near[k]), strict=True)),
                objects=dict(zip(SIZE_NAMES, map(int, objects[k]), strict=True)),
                found=dict(zip(SIZE_NAMES, map(float, _ratio(found[k], objects[k])), strict=True)),
                replaced_by=study.classes[replaced[k].argmax()] if replaced[k].any() else "",
            )
        )
    return result


def agreement(counts: dict[str, Counts]) -> Agreement:
    """Whether the seeds of an arm fail together."""
    wrong = counts["agreed"].sum((0, 1))  # by the number of seeds that are wrong
    seeds = len(wrong) - 1
    of_one_seed = (wrong * np.arange(seeds + 1)).sum() / seeds
    return Agreement(
        always=float(wrong[-1] / of_one_seed) if of_one_seed else 0.0,
        mean_iou=float(metrics.mean_iou(counts["confusion"].sum(0)).mean()),
        ensemble=float(metrics.mean_iou(counts["ensemble"].sum(0))),
    )


def without_doubtful_labels(counts: dict[str, Counts]) -> tuple[int, float]:
    """Pixels whose label all networks contradict, and the mean IoU without them."""
    doubted = counts["doubted"].sum(0)
    left = counts["confusion"].sum(0) - doubted
    return int(doubted[0].sum()), float(metrics.mean_iou(left).mean())


def kinds_total(counts: dict[str, Counts]) -> dict[str, float]:
    """Mean IoU gained if all errors of one kind were corrected, by kind."""
    confusion, flow = counts["confusion"].sum(0), counts["flow"].sum(0)
    plain = metrics.mean_iou(confusion)
    gained = {}
    for kind in Kind:
        corrected = _moved_to_diagonal(confusion, flow[..., kind])
        gained[kind.name.lower()] = _mean(metrics.mean_iou(corrected) - plain)
    return gained


BAND_NAMES = (*(f"{width:g}" for width in BANDS), f"{100 * DIAGONAL:g} %")
NEAR_NAMES = tuple(
    f"{low}-{high}" if np.isfinite(high) else f"over {low}" for low, high in pairwise(NEAR)
)
SIZE_NAMES = tuple(
    f"{round(low**0.5)}-{round(high**0.5)}" if np.isfinite(high) else f"over {round(low**0.5)}"
    for low, high in pairwise(SIZES)
)
"""Sizes of objects as the sides of squares, in pixels."""


def _by_group(study: StudyRuns, counts: Counts) -> Counts:
    """Counts by image [n, S, ...] summed within groups [S, G, ...]."""
    labelled = study.groups >= 0
    return stats.group_totals(np.moveaxis(counts[labelled], 1, 0), study.groups[labelled])


def _interval(arm: Arm, *place: int) -> Interval:
    """One entry of scores of an arm, over as much as can be spoken of.

    What is left without a group of images that alone shows a class is no score: of images nothing
    is said then.
    """
    entry: Any = (..., *place)
    without = arm.without[entry]
    if np.isnan(without).any():
        without = without[:, :0]
    return stats.interval_of_arm(Arm(arm.scores[entry], without))


def _share(values: NDArray[np.integer], axis: int) -> Floats:
    return _ratio(values, values.sum(axis, keepdims=True), empty=0.0)


def _ratio(part: Any, whole: Any, empty: float = float("nan")) -> Floats:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), empty)


def _lost_to_each(confusion: Counts) -> Floats:
    """Missed pixels of each class by what they are called, as parts of its union [K, K].

    With the false ones, what flows into a class, they add up to what its IoU lacks to 1.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)[..., None]
    union = confusion.sum(-1, keepdims=True) + confusion.sum(-2)[..., None] - hits
    off = 1 - np.eye(confusion.shape[-1])
    return np.asarray(_ratio(confusion, union, empty=0.0).mean(0) * off)


def _moved_to_diagonal(confusion: Counts, flow: Counts) -> Counts:
    """Confusion counts [S, K, K] with the errors ``flow`` [S, K, K] put right."""
    moved = confusion - flow
    diagonal = np.arange(confusion.shape[-1])
    moved[..., diagonal, diagonal] += flow.sum(-1)
    return moved


def _mean(values: Sequence[float] | Floats) -> float:
    return float(np.nan_to_num(np.asarray(values)).mean())
