"""What the curves of a study say: who is ahead from when, overfitting, and why they fluctuate."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from segbench import metrics
from segbench.analysis import stats
from segbench.analysis.study import StudyArm, StudyRuns

Curve = NDArray[np.float64]
LAST = 5  # validations at the end of a run whose spread is its fluctuation
BAND = 0.95


@dataclass(frozen=True)
class Fluctuation:
    """Standard deviations of an arm's mean IoU, by where they come from.

    Args:
        within: of the last validations within a run, the root mean square over the runs; None
            for runs too short to tell.
        between: of the last validation between seeds; None for one seed.
        images: of the test score, from the sample of test images (jackknife); None below 2 groups.
        train_clean: mean score on unaugmented training images at the best epoch.
        gap: that, less the mean on val.
    """

    arm: str
    within: float | None
    between: float | None
    images: float | None
    train_clean: float
    gap: float


@dataclass(frozen=True)
class CurveDifference:
    """Of two arms' val mean IoU, epoch by epoch: mean over seeds and a pointwise 95 % band.

    ``ahead_from`` is the epoch, from 0, from which on the band stays on one side of zero, if there
    is one: pointwise, so that it explores and decides nothing.
    """

    baseline: str
    arm: str
    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    ahead_from: int | None


@dataclass(frozen=True)
class Overfitting:
    """The epoch, from 0, at which an arm's mean val is best, if it falls after it as train rises.

    ``lost`` is what val has lost by the end, more than twice its standard error between seeds.
    """

    arm: str
    onset: int | None
    lost: float


def curve(arm: StudyArm, column: str) -> Curve:
    """A column of metrics.csv by seed and epoch [S, E], folds averaged, up to the shortest run."""
    runs = [seed.curves for seed in arm.kept()]
    if not runs:
        return np.empty((0, 0))
    length = min(len(rows) for folds in runs for rows in folds)
    values = [[[row[column] for row in rows[:length]] for rows in folds] for folds in runs]
    return np.array([np.mean(folds, axis=0) for folds in values])


def at_best(arm: StudyArm, column: str) -> Curve:
    """A column at the epochs whose checkpoints were tested: of each seed a mean over its folds [S].

    Each fold has an epoch of its own.
    """
    return np.array(
        [
            np.mean(
                [max(rows, key=lambda row: row["val/mean_iou"])[column] for rows in seed.curves]
            )
            for seed in arm.kept()
        ]
    )


def fluctuation(study: StudyRuns, arm: StudyArm) -> Fluctuation:
    """How much an arm's scores vary, and why."""
    val = curve(arm, "val/mean_iou")
    within = between = images = None
    if val.size and val.shape[1] > LAST:
        within = float(np.sqrt(val[:, -LAST:].var(axis=1, ddof=1).mean()))
    if len(val) > 1:
        between = float(val[:, -1].std(ddof=1))
    totals = study.totals(arm)
    if len(totals) and study.number_of_groups > 1:
        one = stats.score_arm(totals, metrics.mean_iou)
        images = math.sqrt(stats.estimate((1,), [one], estimand="checkpoints").variance_images)
    clean = gap = math.nan
    if val.size:
        clean = float(at_best(arm, "train_clean/mean_iou").mean())
        gap = clean - float(at_best(arm, "val/mean_iou").mean())
    return Fluctuation(arm.name, within, between, images, clean, gap)


def difference(baseline: StudyArm, arm: StudyArm) -> CurveDifference:
    """The difference of two arms over the epochs that both have."""
    one, other = curve(arm, "val/mean_iou"), curve(baseline, "val/mean_iou")
    length = min(one.shape[1], other.shape[1])
    if not length:  # all seeds of an arm diverged
        return CurveDifference(baseline.name, arm.name, [], [], [], [], None)
    one, other = one[:, :length], other[:, :length]
    mean = one.mean(0) - other.mean(0)
    half = np.full(length, np.inf)
    if len(one) > 1 and len(other) > 1:
        parts = [(c.var(axis=0, ddof=1) / len(c), len(c) - 1) for c in (one, other)]
        for epoch in range(length):
            found = [(float(variance[epoch]), df) for variance, df in parts]
            se = math.sqrt(sum(variance for variance, _ in found))
            half[epoch] = se * stdtrit(stats.welch_satterthwaite(found), (1 + BAND) / 2)
    low, high = mean - half, mean + half
    return CurveDifference(
        baseline.name, arm.name, list(range(length)), mean.tolist(), low.tolist(), high.tolist(),
        _ahead_from(low, high),
    )  # fmt: skip


def _ahead_from(low: Curve, high: Curve) -> int | None:
    side = np.where(low > 0, 1, np.where(high < 0, -1, 0))
    if not len(side) or side[-1] == 0:
        return None
    other = np.flatnonzero(side != side[-1])
    return int(other[-1]) + 1 if len(other) else 0


def overfitting(arm: StudyArm) -> Overfitting:
    """Whether and when an arm's val score turns down while the clean training score goes on."""
    val, train = curve(arm, "val/mean_iou"), curve(arm, "train_clean/mean_iou")
    if not val.size:
        return Overfitting(arm.name, None, 0.0)
    top = int(val.mean(0).argmax())
    fallen = val[:, top] - val[:, -1]
    lost = float(fallen.mean())
    se = float(fallen.std(ddof=1) / math.sqrt(len(fallen))) if len(fallen) > 1 else math.inf
    rises = train[:, -1].mean() > train[:, top].mean()
    return Overfitting(arm.name, top if rises and lost > 2 * se else None, lost)
