"""What arms cost, and which of them are worth it: the Pareto front, with its uncertainty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench import metrics
from segbench.analysis import stats
from segbench.analysis.stats import FEWEST_GROUPS
from segbench.analysis.study import Seed, StudyArm, StudyRuns
from segbench.analysis.timings import DRAWS, Timing, ratio
from segbench.errors import InputError

Draws = NDArray[np.float64]

COSTS = {"training": "s", "latency": "ms", "size": "MB", "memory": "MB"}
"""What an arm costs, and the unit it is counted in; less is better."""

ENOUGH = 0.95  # of the best val score, which a run reaches long before its end


@dataclass(frozen=True)
class Training:
    """What training an arm took: means over its seeds.

    Args:
        seconds: of a run, with validation.
        seconds_per_epoch: the same by epoch.
        crops_per_second: while it trained.
        epochs_to_best: up to the checkpoint that was tested.
        seconds_to_best: the same in seconds.
        seconds_to_enough: until val first had 95 % of its best score.
        device_hours: of one run: of all its GPUs, or of the machine where it has none.
    """

    seconds: float
    seconds_per_epoch: float
    crops_per_second: float
    epochs_to_best: float
    seconds_to_best: float
    seconds_to_enough: float
    device_hours: float


@dataclass(frozen=True)
class ArmCost:
    """One arm's quality and costs.

    Args:
        arm: its name.
        number: its place among the study's arms, of which some may have no costs.
        mean_iou: over its seeds, with a 95 % interval over seeds and test images.
        training: what it took.
        parameters: of the network.
        benchmark: what ``segbench benchmark`` measured, or None.
        values: each known cost with its 95 % interval, by the names of :data:`COSTS`.
        on_front: probability that no other arm is better and cheaper, by cost, and for all of
            them ("all").
    """

    arm: str
    number: int
    mean_iou: tuple[float, float, float]
    training: Training
    parameters: int
    benchmark: dict[str, Any] | None
    values: dict[str, tuple[float, float, float]]
    on_front: dict[str, float]


@dataclass(frozen=True)
class Pick:
    """The best arm within limits.

    Args:
        arm: its name; None where none is within them.
        probability: of being the best of those within, over new seeds, images and timings.
        within: the arms within the limits, the best first, each with that probability.
    """

    arm: str | None
    probability: float
    within: dict[str, float]


@dataclass(frozen=True)
class _Drawn:
    """Draws of each arm's quality and of its costs, all of one world [A, DRAWS].

    Beside the draws of a cost its measured value: a mean over seeds, a median over blocks [A].
    """

    arms: list[StudyArm]
    quality: Draws
    costs: dict[str, Draws]
    values: dict[str, list[float]]


def costs(study: StudyRuns, runtime: str = "eager") -> list[ArmCost]:
    """Quality, costs and place on the Pareto front of each arm.

    Args:
        study: the runs.
        runtime: whose latency counts.

    Raises:
        InputError: a benchmark without that runtime, or no seed that did not diverge.
    """
    drawn = _draw(study, runtime)
    fronts = {name: on_front(drawn.quality, [draws]) for name, draws in drawn.costs.items()}
    fronts["all"] = on_front(drawn.quality, list(drawn.costs.values()))
    names = [arm.name for arm in study.arms]
    return [
        ArmCost(
            arm.name,
            names.index(arm.name),
            stats.interval_of_arm(stats.score_arm(study.totals(arm), metrics.mean_iou)),
            training(arm),
            arm.seeds[0].records[0]["parameters"],
            arm.benchmark,
            {
                name: _around(drawn.values[name][number], draws[number])
                for name, draws in drawn.costs.items()
            },
            {name: float(front[number]) for name, front in fronts.items()},
        )
        for number, arm in enumerate(drawn.arms)
    ]


def pick(study: StudyRuns, limits: Mapping[str, float], runtime: str = "eager") -> Pick:
    """The arm with the highest mean IoU among those within limits, and how sure that is.

    Args:
        study: the runs.
        limits: the most of each cost, in its unit of :data:`COSTS`.
        runtime: whose latency counts.

    Raises:
        InputError: a limit on what was not measured, or no seed that did not diverge.
    """
    drawn = _draw(study, runtime)
    for name in limits:
        if name not in drawn.costs:
            raise InputError(
                f"--{name}: not measured for every arm; run: segbench benchmark {study.folders[0]}"
            )
    allowed = np.ones_like(drawn.quality, dtype=bool)
    for name, limit in limits.items():
        allowed &= drawn.costs[name] <= limit
    inside = [
        number
        for number in range(len(drawn.arms))
        if all(drawn.values[name][number] <= limit for name, limit in limits.items())
    ]
    best = np.where(allowed, drawn.quality, -1.0).argmax(0)[allowed.any(0)]
    means = drawn.quality.mean(1)
    order = sorted(inside, key=lambda number: -means[number])
    within = {drawn.arms[i].name: float((best == i).mean()) for i in order}
    first = next(iter(within), None)
    return Pick(first, within[first] if first else 0.0, within)


def training(arm: StudyArm) -> Training:
    """What training took, over the seeds that did not diverge (or all, if all did)."""
    seeds = [seed for seed in arm.seeds if not seed.diverged] or list(arm.seeds)
    rows = np.array([_training_of(seed) for seed in seeds])
    return Training(*(float(value) for value in rows.mean(0)))


def _training_of(seed: Seed) -> list[float]:
    """Of one seed: sums over its folds, rates and epochs as means over them."""
    sums = np.zeros(3)
    rates = []
    hours = 0.0
    for record, rows in zip(seed.records, seed.curves, strict=True):
        val = np.array([row["val/mean_iou"] for row in rows])
        seconds = np.array([row["seconds"] for row in rows])
        best, enough = int(val.argmax()), int((val >= ENOUGH * val.max()).argmax())
        sums += seconds[-1], seconds[best], seconds[enough]
        rates.append((seconds[-1] / len(rows), record["images_per_second"], best + 1))
        hours += seconds[-1] / 3600 * record["hardware"]["devices"]
    per_epoch, crops, epochs = np.mean(rates, axis=0)
    return [sums[0], per_epoch, crops, epochs, sums[1], sums[2], hours]


def faster(arm: StudyArm, baseline: StudyArm, runtime: str) -> tuple[float, float, float] | None:
    """How many times faster an arm's network runs, with its interval; None where not measured.

    Blocks that were measured in one call are paired by round.
    """
    pair = [one.benchmark for one in (baseline, arm)]
    if any(one is None or runtime not in one["runtimes"] for one in pair):
        return None
    slow, fast = (_timing(one, runtime) for one in pair if one)
    if pair[0]["measured"] == pair[1]["measured"]:  # type: ignore[index]
        return ratio(slow, fast)
    rng = np.random.default_rng(0)
    return _around(slow.median / fast.median, slow.drawn(rng) / fast.drawn(rng))


def on_front(quality: Draws, costs: Sequence[Draws]) -> Draws:
    """How often each arm is on the Pareto front [A]: no other as good and cheaper, or better.

    Args:
        quality: draws, more is better [A, D].
        costs: draws of each cost, less is better [A, D].
    """
    gains = [quality, *(-cost for cost in costs)]
    no_worse = np.all([g[:, None] >= g[None] for g in gains], axis=0)  # of first over second
    better = np.any([g[:, None] > g[None] for g in gains], axis=0)
    dominated = (no_worse & better).any(0)
    return np.asarray(1 - dominated.mean(1))


def _draw(study: StudyRuns, runtime: str) -> _Drawn:
    arms = [arm for arm in study.arms if len(arm.counts())]
    if not arms:
        raise InputError(
            f"{study.folders[0]}: every seed of every arm diverged, so that there is no quality to "
            "hold against the costs; train longer, or lower model.lr"
        )
    rng = np.random.default_rng(0)
    totals = [study.totals(arm) for arm in arms]
    if study.number_of_groups >= FEWEST_GROUPS:
        quality = stats.two_level_bootstrap(totals, metrics.mean_iou, rng, DRAWS)
    else:  # too few to stand for others: these test images as they are
        quality = np.stack([_means(metrics.mean_iou(t.sum(1)), rng) for t in totals])
    seconds = [np.array([_training_of(seed)[0] for seed in arm.kept()]) for arm in arms]
    sizes = [arm.seeds[0].records[0]["size_mb"] for arm in arms]
    values: dict[str, list[float]] = {"training": [float(one.mean()) for one in seconds]}
    found = {"training": np.stack([_means(one, rng) for one in seconds])}
    values["size"], found["size"] = sizes, _constant(sizes)
    measured = [one for arm in arms if (one := arm.benchmark)]
    if len(measured) == len(arms):
        for one in measured:
            if runtime not in one["runtimes"]:
                raise InputError(
                    f"--runtime: {runtime} was not measured; one of {', '.join(one['runtimes'])}"
                )
        timings = [_timing(one, runtime) for one in measured]
        values["latency"] = [one.median * 1000 for one in timings]
        found["latency"] = np.stack([one.drawn(rng) * 1000 for one in timings])
        peaks = [one["peak_memory_mb"] for one in measured]
        if None not in peaks:
            values["memory"], found["memory"] = peaks, _constant(peaks)
    return _Drawn(arms, quality, found, values)


def runtime_of(study: StudyRuns) -> str:
    """Whose latency counts where nobody says: eager, or what was measured in its place."""
    measured = [set(arm.benchmark["runtimes"]) for arm in study.arms if arm.benchmark]
    shared = set.intersection(*measured) if measured else set()
    return "eager" if "eager" in shared else min(shared, default="eager")


def _constant(values: Sequence[float]) -> Draws:
    return np.repeat(np.asarray(values, dtype=np.float64)[:, None], DRAWS, axis=1)


def _means(values: Draws, rng: np.random.Generator) -> Draws:
    """Means of resampled values, S-1 of S as the two-level bootstrap takes seeds [DRAWS]."""
    if len(values) < 2:
        return np.full(DRAWS, values.mean())
    return np.asarray(values[rng.integers(len(values), size=(DRAWS, len(values) - 1))].mean(1))


def _timing(benchmark: Mapping[str, Any], runtime: str) -> Timing:
    return Timing(np.array(benchmark["runtimes"][runtime]["blocks_ms"]) / 1000)


def _around(value: float, draws: Draws) -> tuple[float, float, float]:
    """A value with the 95 % interval of its draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return value, float(low), float(high)
