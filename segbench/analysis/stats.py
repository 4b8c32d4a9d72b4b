"""The statistics of a comparison: arrays in, arrays out. No files, no torch, no pandas.

A contrast of arms is estimated over seeds x test images. Its variance has two parts: the delete-one
-group jackknife over images, which leaves the same group out of all arms and seeds (Efron & Stein,
1981), and the variance between seeds; their sum is tested with Welch and Satterthwaite's degrees of
freedom (1946). docs/STATISTICS.md has the procedure in words, and how its error rates were checked.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, stdtr, stdtrit

Floats = NDArray[np.float64]
Score = Callable[[NDArray[np.integer]], Floats]
"""Scores [...] of confusion counts [..., K, K], such as metrics.mean_iou."""

Estimand = Literal["method", "test_set", "checkpoints"]
"""Of what a contrast speaks: new seeds and new images of the kind, or one of the two as it is."""

FEWEST_GROUPS = 6  # of test images, to speak of others
MOST_SEEDS = 100  # the search for seeds still needed ends there
SEEDS_FOR_IMAGES = 20  # assumed where only more images would help
MOST_GROUPS = 100_000
ROUNDING = 1e-14  # of numbers of order one


@dataclass(frozen=True)
class Arm:
    """One arm's scores.

    Args:
        scores: of each seed, on all images [S].
        without: of each seed, with one group of images left out [S, G].
    """

    scores: Floats
    without: Floats

    @property
    def mean(self) -> float:
        return float(self.scores.mean())


@dataclass(frozen=True)
class Estimate:
    """A contrast with its variances and degrees of freedom."""

    difference: float
    variance_images: float
    variance_seeds: float
    df: float
    seed_spread: float  # between seeds of the contrast, for one seed per arm: sum of w^2 s^2
    seed_df: int

    @property
    def se(self) -> float:
        return math.sqrt(self.variance_images + self.variance_seeds)


def group_totals(counts: NDArray[np.integer], groups: NDArray[np.intp]) -> NDArray[np.int64]:
    """Counts summed within groups: [S, n, K, K] and group numbers [n] from 0 to [S, G, K, K]."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    return np.add.reduceat(counts[:, order].astype(np.int64), starts, axis=1)


def score_arm(totals: NDArray[np.int64], score: Score) -> Arm:
    """An arm's scores from its counts by group [S, G, K, K].

    Every group must have labelled pixels; the classes scored in a replicate are those with truth
    left in it.
    """
    everything = totals.sum(1)
    if totals.shape[1] == 1:
        return Arm(score(everything), score(everything)[:, None][:, :0])  # nothing would be left
    return Arm(score(everything), score(everything[:, None] - totals))


def estimate(
    weights: Sequence[float],
    arms: Sequence[Arm],
    paired: bool = False,
    estimand: Estimand = "method",
) -> Estimate:
    """The contrast ``sum_a w_a m_a``, m_a being the mean of arm a's scores over its seeds.

    Args:
        weights: one per arm.
        arms: over the same groups of images; with ``paired`` also over the same seeds, in order.
        paired: whether a seed means the same draw in every arm.
        estimand: which variances count.
    """
    pairs = list(zip(weights, arms, strict=True))
    rounding = ROUNDING * max(float(np.abs(arm.scores).max()) for arm in arms)
    replicates = np.sum([w * arm.without.mean(0) for w, arm in pairs], axis=0)
    groups = len(replicates)
    images = 0.0
    if estimand != "test_set" and groups > 1:
        images = (groups - 1) / groups * float(np.square(replicates - replicates.mean()).sum())
        images = _or_zero(images, rounding**2)
    if paired:
        per_seed = np.sum([w * arm.scores for w, arm in pairs], axis=0)
        parts = [(_variance(per_seed, rounding), len(per_seed))]
    else:
        parts = [(w**2 * _variance(arm.scores, rounding), len(arm.scores)) for w, arm in pairs]
    if estimand == "checkpoints":
        parts = []
    of_seeds = [(spread / number, number - 1) for spread, number in parts]
    return Estimate(
        difference=_or_zero(sum(w * arm.mean for w, arm in pairs), rounding),
        variance_images=images,
        variance_seeds=sum(variance for variance, _ in of_seeds),
        df=welch_satterthwaite([(images, groups - 1), *of_seeds]),
        seed_spread=sum(spread for spread, _ in parts),
        seed_df=sum(number - 1 for _, number in parts),
    )


def _variance(values: Floats, rounding: float) -> float:
    """Between seeds; 0 for one seed, about which nothing is known."""
    return _or_zero(float(values.var(ddof=1)), rounding**2) if len(values) > 1 else 0.0


def _or_zero(value: float, rounding: float) -> float:
    """``value``, or zero where rounding may have left it of equal numbers."""
    return value if abs(value) > rounding else 0.0


def identical(arms: Sequence[Arm]) -> bool:
    """Whether all arms have the same scores for the same seeds, whatever is left out."""
    first = arms[0]
    return all(
        np.array_equal(arm.scores, first.scores) and np.array_equal(arm.without, first.without)
        for arm in arms
    )


def welch_satterthwaite(parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances, given each with its own; at least 1."""
    largest = max((variance for variance, _ in parts), default=0.0)
    if largest == 0:
        return 1.0  # never used: nothing varies
    shares = [(variance / largest, df) for variance, df in parts if variance > 0]
    total = sum(share for share, _ in shares)
    return float(total**2 / sum(share**2 / max(df, 1.0) for share, df in shares))


def p_difference(found: Estimate) -> float:
    """Two-sided p of no difference."""
    if found.se == 0:
        return 1.0 if found.difference == 0 else 0.0
    return float(2 * stdtr(found.df, -abs(found.difference) / found.se))


def p_equivalent(found: Estimate, margin: float) -> float:
    """The p of a difference of ``margin`` or more, by two one-sided tests (Schuirmann, 1987)."""
    if found.se == 0:
        return 0.0 if abs(found.difference) < margin else 1.0
    low = stdtr(found.df, -(found.difference + margin) / found.se)
    high = stdtr(found.df, -(margin - found.difference) / found.se)
    return float(max(low, high))


def interval(found: Estimate, level: float) -> tuple[float, float]:
    """The ``level`` confidence interval (0..1) of the contrast."""
    half = float(stdtrit(found.df, (1 + level) / 2)) * found.se
    return found.difference - half, found.difference + half


def interval_of_arm(arm: Arm, level: float = 0.95) -> tuple[float, float, float]:
    """One arm's mean with its interval, over as much as can be spoken of: seeds, groups or both.

    Scores are shares: where few seeds would have it beyond 0 or 1, the interval ends there.
    """
    images, seeds = arm.without.shape[1] >= FEWEST_GROUPS, len(arm.scores) > 1
    if not images and not seeds:
        return arm.mean, arm.mean, arm.mean
    estimand: Estimand = "method" if images and seeds else "test_set" if seeds else "checkpoints"
    low, high = interval(estimate((1,), [arm], estimand=estimand), level)
    return arm.mean, max(0.0, low), min(1.0, high)


def holm(p: Sequence[float], family: int | None = None) -> Floats:
    """The p values adjusted for being one of a family (Holm, 1979).

    Args:
        p: those that could be computed.
        family: how many there are with those that could not; all of ``p`` by default.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    first = len(values) if family is None else family
    raised = values[order] * np.arange(first, first - len(values), -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(raised))
    return adjusted


@dataclass(frozen=True)
class Power:
    """What a study needs to see a difference: seeds per arm, as it has them or with more."""

    variance_images: float
    groups: int
    arms: int  # over which the spread between seeds is shared
    alpha: float  # of the contrast, two-sided
    power: float

    def enough(self, difference: float, spread: float, seeds: int, groups: int) -> bool:
        """Whether ``seeds`` and ``groups`` would show ``difference``."""
        images = self.variance_images * self.groups / groups
        one = spread / self.arms / seeds
        df = welch_satterthwaite([(images, groups - 1), *([(one, seeds - 1)] * self.arms)])
        quantiles = stdtrit(df, 1 - self.alpha / 2) + stdtrit(df, self.power)
        return bool(images + spread / seeds <= (difference / quantiles) ** 2)

    def seeds(self, difference: float, spread: float) -> int | None:
        """The fewest seeds per arm, 2 to 100, that show ``difference``; None where none do."""
        tried = range(2, MOST_SEEDS + 1)
        return next((s for s in tried if self.enough(difference, spread, s, self.groups)), None)

    def groups_needed(self, difference: float, spread: float) -> int | None:
        """The fewest groups of test images that show ``difference`` with 20 seeds per arm."""
        low, high = 2, MOST_GROUPS
        if not self.enough(difference, spread, SEEDS_FOR_IMAGES, high):
            return None
        while low < high:  # more groups never show less
            middle = (low + high) // 2
            if self.enough(difference, spread, SEEDS_FOR_IMAGES, middle):
                high = middle
            else:
                low = middle + 1
        return low


def seed_spread_bound(found: Estimate, share: float) -> float:
    """A bound which the spread between seeds does not exceed, in ``share`` (0..1) of studies."""
    if found.seed_df == 0 or found.seed_spread == 0:
        return found.seed_spread
    return float(found.seed_spread * found.seed_df / chdtri(found.seed_df, share))


def two_level_bootstrap(
    totals: Sequence[NDArray[np.int64]], score: Score, rng: np.random.Generator, draws: int = 2000
) -> Floats:
    """Mean scores of each arm with groups and seeds resampled (Rao & Wu, 1988) [A, draws].

    Each draw takes G-1 of the G groups, the same for all arms and seeds, and S-1 of each arm's S
    seeds, with replacement. The standard deviation of a contrast over the draws stands beside the
    jackknife's standard error and decides nothing.

    Args:
        totals: counts by group of each arm [S_a, G, K, K].
        score: of summed counts.
        rng: where chance comes from.
        draws: how many.
    """
    groups = totals[0].shape[1]
    taken = rng.multinomial(groups - 1, np.full(groups, 1 / groups), size=draws).astype(np.float64)
    means = np.empty((len(totals), draws))
    for number, arm in enumerate(totals):
        seeds, _, classes, _ = arm.shape
        flat = arm.transpose(1, 0, 2, 3).reshape(groups, -1).astype(np.float64)
        drawn = score((taken @ flat).reshape(draws, seeds, classes, classes).astype(np.int64))
        if seeds > 1:
            chosen = rng.integers(seeds, size=(draws, seeds - 1))
            drawn = np.take_along_axis(drawn, chosen, axis=1)
        means[number] = drawn.mean(1)
    return means


def order_of_single_seeds(arm: Arm, baseline: Arm, paired: bool) -> tuple[float, float]:
    """How often a pair of single seeds shows ``arm`` ahead, and shows the order of the means wrong.

    Ties count half. With ``paired``, a pair is of the same seed.
    """
    of_pairs = np.subtract if paired else np.subtract.outer
    ahead = of_pairs(arm.scores, baseline.scores)
    share = float((ahead > 0).mean() + (ahead == 0).mean() / 2)
    return share, 1 - share if arm.mean > baseline.mean else share
