"""A study as analysis sees it: arms, each with the test counts of its seeds."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench import metrics
from segbench.analysis.by_hand import Cells, Found, Key, cells_by_hand, is_done
from segbench.analysis.stats import group_totals
from segbench.errors import InputError
from segbench.runs import RunFolder, TestCounts, find_runs
from segbench.study.plan import Plan, arm_name, find_cells, level_name, read_plan


@dataclass(frozen=True)
class Seed:
    """What one arm did with one seed: a run, or one run per fold.

    Args:
        seed: its number.
        counts: confusion counts of all test images [n, K, K]; folds are pooled.
        records: run.json of each run.
        curves: the rows of metrics.csv of each run.
        diverged: stopped on NaN, or no better than calling everything the commonest class.
        benchmark: what was measured of its network, or None.
        runs: their folders.
    """

    seed: int
    counts: NDArray[np.int64]
    records: tuple[dict[str, Any], ...]
    curves: tuple[list[dict[str, float]], ...]
    diverged: bool
    benchmark: dict[str, Any] | None
    runs: tuple[RunFolder, ...]

    @property
    def seconds(self) -> float:
        return float(sum(sum(record["seconds"].values()) for record in self.records))


@dataclass(frozen=True)
class StudyArm:
    """One arm: the value of each factor as it was given, and the network that it trains."""

    levels: dict[str, Any]
    seeds: tuple[Seed, ...]
    network: str

    @property
    def name(self) -> str:
        return arm_name(self.levels)

    @property
    def first_run(self) -> RunFolder:
        """One of its runs, whose configuration is that of all but for seed and fold."""
        return self.seeds[0].runs[0]

    def kept(self, with_diverged: bool = False) -> list[Seed]:
        """The seeds that did not diverge, or all."""
        return [seed for seed in self.seeds if with_diverged or not seed.diverged]

    def counts(self, with_diverged: bool = False) -> NDArray[np.int64]:
        """Of its seeds [S, n, K, K]."""
        kept = [seed.counts for seed in self.kept(with_diverged)]
        return np.stack(kept) if kept else np.empty((0, *self.seeds[0].counts.shape), np.int64)

    @property
    def benchmark(self) -> dict[str, Any] | None:
        """What was measured of its network: benchmark.json of its first run that has one."""
        return next((seed.benchmark for seed in self.seeds if seed.benchmark), None)

    @property
    def diverged(self) -> int:
        return sum(seed.diverged for seed in self.seeds)


@dataclass(frozen=True)
class StudyRuns:
    """All arms of a study over the same test images.

    Args:
        folders: where it lies.
        plan: its plan, or None where the runs were made by hand.
        factors: what varies, with its values, the baseline first.
        arms: in the order of the plan.
        images: names of the test images [n].
        group_names: the group of each image [n].
        classes: names [K].
        notes: what a reader of verdicts has to know.
    """

    folders: tuple[Path, ...]
    plan: Plan | None
    factors: dict[str, list[Any]]
    arms: tuple[StudyArm, ...]
    images: list[str]
    group_names: list[str]
    classes: list[str]
    notes: list[str] = field(default_factory=list)
    _totals: dict[tuple[str, bool], NDArray[np.int64]] = field(init=False, default_factory=dict)
    """What :meth:`totals` remembers; a copy of other arms or images begins anew."""

    @cached_property
    def groups(self) -> NDArray[np.intp]:
        """A number for the group of each labelled image, -1 where nothing is labelled [n]."""
        truth = self.arms[0].seeds[0].counts.sum((1, 2))
        names = [name if t else None for name, t in zip(self.group_names, truth, strict=True)]
        numbers = {name: i for i, name in enumerate(dict.fromkeys(n for n in names if n))}
        return np.array([numbers.get(name, -1) if name else -1 for name in names], dtype=np.intp)

    @property
    def folds(self) -> bool:
        """Whether every image was tested in turn."""
        return self.arms[0].seeds[0].records[0]["fold"] is not None

    @property
    def number_of_groups(self) -> int:
        return int(self.groups.max()) + 1

    def totals(self, arm: StudyArm, with_diverged: bool = False) -> NDArray[np.int64]:
        """Counts by group of images [S, G, K, K]."""
        key = (arm.name, with_diverged and arm.diverged > 0)
        if key not in self._totals:
            labelled = self.groups >= 0
            counts = arm.counts(with_diverged)[:, labelled]
            self._totals[key] = group_totals(counts, self.groups[labelled])
        return self._totals[key]

    @cached_property
    def majority_iou(self) -> float:
        """Mean IoU of calling everything the commonest class; NaN where there is but one."""
        return _majority_iou(self.arms[0].seeds[0].counts.sum(0))

    @cached_property
    def groups_of_classes(self) -> list[int]:
        """In how many groups each class has truth pixels [K]."""
        counts = self.arms[0].seeds[0].counts
        truth = counts.sum(2) > 0
        return [len(set(self.groups[truth[:, k]].tolist())) for k in range(len(self.classes))]


def read_study(folders: Sequence[Path]) -> StudyRuns:
    """Read the finished runs of a study that lies in one folder or several.

    Raises:
        InputError: no finished runs, or runs of different data, classes or plans.
    """
    plans = [read_plan(folder) for folder in folders if (folder / "study.yaml").exists()]
    if len({plan.hash for plan in plans}) > 1:
        raise InputError(f"{folders[0]}: its plan is another than that of {folders[1]}")
    plan = plans[0] if len(plans) == len(folders) else None
    found = [(run, run.read_record()) for folder in folders for run in find_runs(folder)]
    _check_alike(found)
    cells = _cells_of_plan(plan, found) if plan else cells_by_hand(found)
    notes: list[str] = []
    folds = _folds(plan, found)
    arms: dict[Key, list[Seed]] = defaultdict(list)
    levels: dict[Key, dict[str, Any]] = {}
    images: TestCounts | None = None
    for (key, seed), runs in sorted(cells.items(), key=lambda item: item[0][1]):
        tested = [_tested(run, record) for run, record, _ in runs]
        levels.setdefault(key, runs[0][2])
        if len(runs) < folds or None in tested:
            notes.append(f"seed {seed} of {'/'.join(key)}: not all of its runs are finished")
            continue
        pooled = _pooled([one for one in tested if one is not None])
        images = images or pooled
        arms[key].append(_seed(seed, runs, _in_order(pooled, images)))
    if images is None:
        raise InputError(f"{folders[0]}: none of its runs is finished and tested")
    networks = {key: _network(runs[0][0]) for (key, _), runs in cells.items() if key in arms}
    made = [StudyArm(levels[key], tuple(seeds), networks[key]) for key, seeds in arms.items()]
    factors = _factors(plan, made)
    made.sort(key=lambda arm: [factors[key].index(value) for key, value in arm.levels.items()])
    there = {arm.name for arm in made}
    for name in plan.first_arms if plan else ():
        if name not in there:
            notes.append(f"{name}: planned, and none of its seeds is finished")
    return StudyRuns(
        tuple(folders), plan, factors, tuple(made), images.images, images.groups, images.classes,
        notes,
    )  # fmt: skip


def _folds(plan: Plan | None, found: list[Found]) -> int:
    """How many runs a seed of an arm takes."""
    if plan:
        return len({cell.fold for cell in plan.cells})
    folds = (run.read_config()["data"].get("folds") for run, record in found if is_done(record))
    return max((number or 1 for number in folds), default=1)


def _network(run: RunFolder) -> str:
    model = run.read_config()["model"]
    name = {"unet": "UNet", "deeplab": "DeepLab"}.get(model["architecture"], model["architecture"])
    return name if model["backbone"] in (None, "plain") else f"{name} {model['backbone']}"


def _cells_of_plan(plan: Plan, found: list[Found]) -> Cells:
    cells: Cells = defaultdict(list)
    records = {run.path: record for run, record in found}
    for cell, run in find_cells(plan, records):
        if run.path in records:
            key = tuple(level_name(k, v) for k, v in cell.arm.items())
            cells[key, cell.seed].append((run, records[run.path], cell.arm))
    return cells


def _check_alike(found: list[Found]) -> None:
    first, record = found[0]
    for run, other in found:
        if other["fingerprints"]["data"] != record["fingerprints"]["data"]:
            raise InputError(f"{run.path}: was trained on other data than {first.path}")


def _tested(run: RunFolder, record: dict[str, Any]) -> TestCounts | None:
    if not is_done(record) or not run.counts.exists():
        return None
    return run.read_counts()


def _pooled(parts: list[TestCounts]) -> TestCounts:
    """The folds of one arm and seed, which test every image once between them."""
    if any(part.classes != parts[0].classes for part in parts):
        raise InputError("the folds of a study have different classes")
    return TestCounts(
        np.concatenate([part.counts for part in parts]),
        [image for part in parts for image in part.images],
        [group for part in parts for group in part.groups],
        parts[0].classes,
    )


def _in_order(tested: TestCounts, like: TestCounts) -> NDArray[np.int64]:
    if tested.classes != like.classes:
        raise InputError(f"the classes {tested.classes} and {like.classes} cannot be compared")
    if sorted(tested.images) != sorted(like.images):
        raise InputError("two runs of the study were tested on different images")
    place = {image: number for number, image in enumerate(tested.images)}
    return tested.counts[[place[image] for image in like.images]].astype(np.int64)


def _seed(
    seed: int,
    runs: list[tuple[RunFolder, dict[str, Any], dict[str, Any]]],
    counts: NDArray[np.int64],
) -> Seed:
    everything = counts.sum(0)
    if everything.sum() == 0:
        raise InputError(f"{runs[0][0].path}: no pixel of the test images is labelled")
    stopped = any(record["status"] == "diverged" for _, record, _ in runs)
    return Seed(
        seed,
        counts,
        tuple(record for _, record, _ in runs),
        tuple(run.read_metrics() for run, _, _ in runs),
        stopped or bool(metrics.mean_iou(everything) <= _majority_iou(everything)),
        runs[0][0].read_benchmark(),
        tuple(run for run, _, _ in runs),
    )


def _majority_iou(counts: NDArray[np.int64]) -> float:
    """Mean IoU of calling everything the commonest class, of the truth of confusion counts.

    NaN where the truth has one class: nothing can be better, and nothing is to be learned.
    """
    truth = counts.sum(1)
    if np.count_nonzero(truth) < 2:
        return math.nan
    said = np.zeros_like(counts)
    said[:, truth.argmax()] = truth
    return float(metrics.mean_iou(said))


def _factors(plan: Plan | None, arms: list[StudyArm]) -> dict[str, list[Any]]:
    keys = list(arms[0].levels)
    values: dict[str, list[Any]] = {}
    for key in keys:
        planned = plan.factors.get(key, []) if plan else []
        present = [arm.levels[key] for arm in arms]
        found = sorted(
            present, key=lambda v: v not in (None, False, "none")
        )  # what is off is first
        order = [*planned, *(v for v in found if v not in planned)]
        values[key] = [v for i, v in enumerate(order) if v in present and v not in order[:i]]
    return values
