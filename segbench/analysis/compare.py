"""The verdicts of a study: each contrast's difference, interval, verdict, and what is still needed.

docs/STATISTICS.md has the procedure; the arithmetic is in stats.py. Nothing here is random but the
bootstrap that stands beside the intervals, whose seed is fixed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench import metrics
from segbench.analysis import stats
from segbench.analysis.questions import SCORES, Question, Rules, questions
from segbench.analysis.stats import FEWEST_GROUPS, Arm, Estimand, Estimate
from segbench.analysis.study import StudyArm, StudyRuns
from segbench.wording import counted

FEW_GROUPS_OF_A_CLASS = 10
FEWEST_GROUPS_OF_A_CLASS = 3


@dataclass(frozen=True)
class Needed:
    """What would settle an inconclusive contrast."""

    seeds_total: int | None = None
    seeds_more: int | None = None
    seeds_range: tuple[int | None, int | None] = (None, None)
    groups_needed: int | None = None
    seeds_for_equivalence: int | None = None
    hours: float | None = None
    advice: str = ""


@dataclass(frozen=True)
class Contrast:
    """One verdict with all that it rests on; the names are those of ``compare --json``."""

    factor: str
    baseline: str
    arm: str
    metric: str
    difference: float
    ci_low: float | None
    ci_high: float | None
    ci_level: float
    equivalence_low: float | None
    equivalence_high: float | None
    p_difference: float | None
    p_equivalent: float | None
    p_difference_holm: float | None
    p_equivalent_holm: float | None
    verdict: str
    beyond_margin: bool
    reason: str
    margin: float
    alpha: float
    estimand: str
    post_hoc: list[str]
    seeds: int
    diverged: int
    images: int
    groups: int
    variance_images: float
    variance_seeds: float
    verdict_with_diverged: str | None
    bootstrap_se: float | None
    single_seed_ahead: float | None
    single_seed_misleads: float | None
    needed: Needed = field(default_factory=Needed)

    @property
    def bootstrap_disagrees(self) -> bool:
        """Whether the standard error by resampling differs by more than a fifth."""
        se = float(np.sqrt(self.variance_images + self.variance_seeds))
        return self.bootstrap_se is not None and abs(self.bootstrap_se - se) > 0.2 * se

    def as_json(self) -> dict[str, Any]:
        """Flat, with what is needed beside the rest."""
        content: dict[str, Any] = asdict(self)
        needed: dict[str, Any] = content.pop("needed")
        return content | needed


def compare(study: StudyRuns, rules: Rules, bootstrap: bool = True) -> list[Contrast]:
    """The verdict of each question of a study, as a family."""
    asked, family = questions(study, rules.contrasts)
    return judge(study, rules, asked, SCORES[rules.metric], rules.metric, bootstrap, family)


def judge(
    study: StudyRuns,
    rules: Rules,
    asked: Sequence[Question],
    score: stats.Score,
    metric: str,
    bootstrap: bool = True,
    family: int | None = None,
) -> list[Contrast]:
    """Judge questions as one family, controlled together by Holm's procedure.

    Args:
        study: the runs.
        rules: how.
        asked: the questions.
        score: of summed confusion counts.
        metric: its name.
        bootstrap: whether its standard errors, which decide nothing, stand beside.
        family: how many questions there are with those that cannot be asked; None: no others.
    """
    family = family or len(asked)
    totals = [study.totals(arm) for arm in study.arms]
    drawn = None
    if bootstrap and study.number_of_groups >= FEWEST_GROUPS and all(map(len, totals)):
        drawn = stats.two_level_bootstrap(totals, score, np.random.default_rng(0))
    found = _Judge(study, rules, [_scored(one, score) for one in totals], drawn)
    contrasts = _as_family([found.contrast(q, metric, family, True) for q in asked], family)
    if not any(arm.diverged for arm in study.arms):
        return contrasts
    everything = [_scored(study.totals(arm, with_diverged=True), score) for arm in study.arms]
    of_all = _Judge(study, rules, everything, with_diverged=True)
    again = _as_family([of_all.contrast(q, metric, family, False) for q in asked], family)
    return [
        replace(one, verdict_with_diverged=other.verdict)
        for one, other in zip(contrasts, again, strict=True)
    ]


def _scored(totals: NDArray[np.int64], score: stats.Score) -> Arm:
    return stats.score_arm(totals, score) if len(totals) else Arm(np.zeros(0), np.zeros((0, 0)))


class _Judge:
    """Scores of all arms by one metric, ready for contrasts.

    Args:
        study: the runs.
        rules: how to judge.
        arms: the scores of each of its arms.
        drawn: the arms' resampled means, to stand beside the intervals.
        with_diverged: whether the scores are of all seeds.
    """

    def __init__(
        self,
        study: StudyRuns,
        rules: Rules,
        arms: list[Arm],
        drawn: stats.Floats | None = None,
        with_diverged: bool = False,
    ) -> None:
        self.study, self.rules, self.arms, self.drawn = study, rules, arms, drawn
        self.seeds = [[s.seed for s in arm.kept(with_diverged)] for arm in study.arms]

    def contrast(self, question: Question, metric: str, family: int, beside: bool) -> Contrast:
        rules, study = self.rules, self.study
        used = [i for i, w in enumerate(question.weights) if w]
        weights = [question.weights[i] for i in used]
        arms = self._paired(used) if rules.paired else [self.arms[i] for i in used]
        seeds = min(len(arm.scores) for arm in arms)
        alpha = rules.level / family
        common: dict[str, Any] = {
            **{"factor": question.factor, "baseline": question.baseline, "arm": question.arm},
            **{"metric": metric, "margin": rules.margin, "alpha": rules.level},
            **{"ci_level": 1 - alpha, "post_hoc": list(rules.post_hoc), "seeds": seeds},
            **{"images": len(study.images), "groups": study.number_of_groups},
            "diverged": sum(study.arms[i].diverged for i in used),
        }
        estimand, reason = self._assessable(seeds, used)
        if estimand is None or seeds == 0:
            difference = (
                sum(w * arm.mean for w, arm in zip(weights, arms, strict=True))
                if seeds
                else math.nan
            )
            return Contrast(**common, **_NOTHING, difference=difference, reason=reason,
                            estimand=rules.estimand)  # fmt: skip
        found = stats.estimate(weights, arms, rules.paired, estimand)
        if stats.identical(arms):
            found = replace(found, variance_images=0.0, variance_seeds=0.0)
        low, high = stats.interval(found, 1 - alpha)
        inner_low, inner_high = stats.interval(found, 1 - 2 * alpha)
        ahead = misleads = None
        if beside and len(used) == 2:
            ahead, misleads = stats.order_of_single_seeds(arms[1], arms[0], rules.paired)
        contrast = Contrast(
            **common,
            difference=found.difference,
            ci_low=low,
            ci_high=high,
            equivalence_low=inner_low,
            equivalence_high=inner_high,
            p_difference=stats.p_difference(found),
            p_equivalent=stats.p_equivalent(found, rules.margin),
            p_difference_holm=None,
            p_equivalent_holm=None,
            verdict="",
            beyond_margin=low > rules.margin or high < -rules.margin,
            reason=reason,
            estimand=estimand,
            variance_images=found.variance_images,
            variance_seeds=found.variance_seeds,
            verdict_with_diverged=None,
            bootstrap_se=self._bootstrap_se(question),
            single_seed_ahead=ahead,
            single_seed_misleads=misleads,
        )
        if not beside:
            return contrast
        return replace(contrast, needed=self._needed(found, used, seeds, alpha))

    def _paired(self, used: Sequence[int]) -> list[Arm]:
        """The scores of the seeds that no arm lacks."""
        shared = set.intersection(*(set(self.seeds[i]) for i in used))
        kept = [[seed in shared for seed in self.seeds[i]] for i in used]
        return [
            Arm(self.arms[i].scores[keep], self.arms[i].without[keep])
            for i, keep in zip(used, kept, strict=True)
        ]

    def _assessable(self, seeds: int, used: Sequence[int]) -> tuple[Estimand | None, str]:
        """Of what the contrast can speak, and why of no more."""
        estimand, groups = self.rules.estimand, self.study.number_of_groups
        if seeds == 0:
            if self.rules.paired and all(self.seeds[i] for i in used):
                return None, "no seed of the pair is without divergence in both arms"
            return None, "all seeds of an arm diverged"
        if (
            self.rules.paired
            and len({tuple(s.seed for s in self.study.arms[i].seeds) for i in used}) > 1
        ):
            return None, "paired seeds must be the same in every arm"
        if seeds < 2 and estimand != "checkpoints":
            if self.rules.paired and min(len(self.seeds[i]) for i in used) > 1:
                return None, "one seed of the pair is without divergence in both arms"
            if any(self.study.arms[i].diverged for i in used):
                return None, "one seed of an arm did not diverge; lower its model.lr"
            return None, "one seed: run more, segbench sweep ... --seeds 5"
        if groups < FEWEST_GROUPS and estimand == "checkpoints":
            return None, (
                f"{counted(groups, 'group')} of test images: too few to speak of other images, and "
                "of these checkpoints nothing else is asked"
            )
        if groups < FEWEST_GROUPS and estimand == "method":
            return "test_set", (
                f"{counted(groups, 'group')} of test images: too few to speak of other images, "
                "the verdict holds for this test set"
            )
        return estimand, ""

    def _bootstrap_se(self, question: Question) -> float | None:
        if self.drawn is None or self.rules.estimand != "method" or self.rules.paired:
            return None  # it resamples both levels, and the seeds of each arm for themselves
        return float(np.std(np.array(question.weights) @ self.drawn, ddof=1))

    def _needed(self, found: Estimate, used: Sequence[int], seeds: int, alpha: float) -> Needed:
        rules = self.rules
        arms = 1 if rules.paired else len(used)
        groups = self.study.number_of_groups
        power = stats.Power(found.variance_images, groups, arms, alpha, rules.power)
        spread = partial(stats.seed_spread_bound, found)
        margin = rules.margin
        total = power.seeds(margin, spread(0.6))
        bounds = (power.seeds(margin, spread(0.1)), power.seeds(margin, spread(0.9)))
        if total is None and not found.variance_images:  # other images would be no help
            return Needed(
                advice=f"over {stats.MOST_SEEDS} seeds per arm: they spread too far for that margin"
            )
        if total is None:
            needed = power.groups_needed(margin, spread(0.6))
            more = f"about {needed - groups} more" if needed else "far more"
            apart = groups == np.count_nonzero(self.study.groups >= 0)
            what = "test images" if apart else "groups of test images"
            folds = "" if self.study.folds else ", or use folds"
            return Needed(
                groups_needed=needed,
                advice=f"seeds cannot settle it: collect or label {more} {what}{folds}",
            )
        if rules.estimand == "checkpoints":
            words = "could have shown a difference of"
            return Needed(advice=f"these images {words} {margin} and showed less")
        if total > seeds:
            looks = [look for look in rules.looks if look >= total]
            wanted = looks[0] if looks else total
            seconds = [s.seconds for i in used for s in self.study.arms[i].seeds]
            hours = (wanted - seeds) * len(used) * float(np.mean(seconds)) / 3600
            low, high = (str(b) if b else f"over {stats.MOST_SEEDS}" for b in bounds)
            return Needed(
                seeds_total=total,
                seeds_more=wanted - seeds,
                seeds_range=bounds,
                hours=hours,
                advice=f"{wanted - seeds} more seeds per arm ({low} to {high} in all, "
                f"{hours:.1f} hours)",
            )
        rest = margin - abs(found.difference)
        equivalence = power.seeds(rest, spread(0.6)) if rest > 0 else None
        advice = f"{seeds} seeds could have shown a difference of {margin} and showed less"
        if equivalence and equivalence > seeds:
            advice += f"; {equivalence} seeds per arm would show equivalence"
        return Needed(seeds_total=total, seeds_for_equivalence=equivalence, advice=advice)


_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("ci_low", "ci_high", "equivalence_low", "equivalence_high")),
    **dict.fromkeys(("p_difference", "p_equivalent", "p_difference_holm", "p_equivalent_holm")),
    **dict.fromkeys(("verdict_with_diverged", "bootstrap_se")),
    **dict.fromkeys(("single_seed_ahead", "single_seed_misleads")),
    **{"verdict": "not assessable", "beyond_margin": False},
    **{"variance_images": 0.0, "variance_seeds": 0.0},
}


def _as_family(contrasts: list[Contrast], family: int) -> list[Contrast]:
    """Adjust the p values of those that have one, of so many, and say the verdicts."""
    judged = [c for c in contrasts if c.p_difference is not None]
    differ = iter(stats.holm([c.p_difference or 0.0 for c in judged], family))
    equal = iter(stats.holm([c.p_equivalent or 0.0 for c in judged], family))
    return [
        c if c.p_difference is None else _verdict(c, float(next(differ)), float(next(equal)))
        for c in contrasts
    ]


def _verdict(contrast: Contrast, p_difference: float, p_equivalent: float) -> Contrast:
    differs, equivalent = p_difference <= contrast.alpha, p_equivalent <= contrast.alpha
    words = []
    if differs:
        words.append("better" if contrast.difference > 0 else "worse")
    if equivalent:
        words.append("equivalent")
    return replace(
        contrast,
        p_difference_holm=p_difference,
        p_equivalent_holm=p_equivalent,
        verdict=" and ".join(words) or "inconclusive",
        beyond_margin=contrast.beyond_margin and differs,
        needed=contrast.needed if not words else Needed(),
    )


def per_class(study: StudyRuns, rules: Rules) -> list[Contrast]:
    """IoU of each class: a second, exploratory family over all classes and contrasts.

    A class in fewer than 3 groups of images is shown without a verdict.
    """
    asked, of_pairs = questions(study, rules.contrasts)
    arms = [_scored(study.totals(arm), metrics.class_iou) for arm in study.arms]
    if not all(len(arm.scores) for arm in arms):
        return []
    known = {name: n for name, n in zip(study.classes, study.groups_of_classes, strict=True) if n}
    size = of_pairs * sum(n >= FEWEST_GROUPS_OF_A_CLASS for n in known.values())
    family = []
    for number, name in enumerate(study.classes):
        if name not in known:
            continue
        of_class = [Arm(arm.scores[:, number], arm.without[..., number]) for arm in arms]
        judge_class = _Judge(study, rules, of_class)
        found = [judge_class.contrast(q, f"iou/{name}", max(1, size), False) for q in asked]
        if known[name] < FEWEST_GROUPS_OF_A_CLASS:
            reason = f"in {counted(known[name], 'group')} only"
            found = [replace(c, **_NOTHING | {"reason": reason}) for c in found]
        family += found
    return _as_family(family, size)


def means_of(arm: StudyArm) -> dict[str, float]:
    """Each of :data:`SCORES` on test, a mean over an arm's seeds; NaN where all diverged."""
    counts = arm.counts()
    if not len(counts):
        return dict.fromkeys(SCORES, math.nan)
    return {name: float(score(counts.sum(1)).mean()) for name, score in SCORES.items()}


def best_set(contrasts: Sequence[Contrast], means: Mapping[str, float]) -> list[str]:
    """The arms that are not shown to be worse than the best, the best first.

    Args:
        contrasts: all that were judged.
        means: of each arm; one whose seeds all diverged has NaN and is left out.
    """
    scored = {name: mean for name, mean in means.items() if not math.isnan(mean)}
    if not scored:
        return []
    best = max(scored, key=scored.__getitem__)
    worse = {
        c.baseline if c.arm == best else c.arm
        for c in contrasts
        if best in (c.arm, c.baseline) and ("better" in c.verdict or "worse" in c.verdict)
    }
    return sorted((arm for arm in scored if arm not in worse), key=lambda arm: -scored[arm])
