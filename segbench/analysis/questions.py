"""What a study asks, and by which rules its answers are judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import numpy as np

from segbench import metrics
from segbench.analysis.stats import Estimand, Score
from segbench.analysis.study import StudyArm, StudyRuns
from segbench.errors import InputError
from segbench.study.plan import arm_name, level_name, pairs
from segbench.wording import counted

SCORES: dict[str, Score] = {
    "mean_iou": metrics.mean_iou,
    "mean_class_acc": metrics.mean_class_acc,
    "mean_acc": metrics.mean_acc,
}


@dataclass(frozen=True)
class Rules:
    """How verdicts are made: the plan's, and what was asked for otherwise, which is post hoc."""

    contrasts: str | Sequence[str] = "baseline"
    metric: str = "mean_iou"
    margin: float = 0.02
    alpha: float = 0.05
    power: float = 0.8
    looks: tuple[int, ...] = ()
    paired: bool = False
    estimand: Estimand = "method"
    post_hoc: tuple[str, ...] = ()

    @property
    def level(self) -> float:
        """Alpha of one look."""
        return self.alpha / max(1, len(self.looks))


@dataclass(frozen=True)
class Question:
    """A contrast to be judged: which arms it weighs against which, and what it is called."""

    factor: str
    baseline: str
    arm: str
    weights: tuple[float, ...]


def rules_of(study: StudyRuns, asked: Mapping[str, Any]) -> Rules:
    """The plan's rules, or the defaults where runs were made by hand, with what was asked for.

    Raises:
        InputError: a value that cannot be.
    """
    images = len(study.images)
    planned = Rules(margin=0.02 if images < 200 else 0.01)
    if study.plan:
        content = study.plan.content["plan"]
        planned = Rules(**{key: content[key] for key in _PLANNED}, looks=tuple(content["looks"]))
    changed = {k: v for k, v in asked.items() if v is not None and v != getattr(planned, k)}
    rules = replace(planned, **changed)
    if rules.metric not in SCORES:
        raise InputError(f"--metric: {rules.metric}; one of {', '.join(SCORES)}")
    if not 0 < rules.margin < 1:
        raise InputError(f"--margin: {rules.margin}; give a difference within 0..1")
    if not 0 < rules.alpha < 0.5:
        raise InputError(f"--alpha: {rules.alpha}; give a level within 0..0.5")
    post_hoc = list(changed) if study.plan else ["no plan"]
    seeds = min(len(arm.seeds) for arm in study.arms)
    if study.plan and study.plan.content["plan"]["made"] != "before the runs":
        post_hoc.append("planned after the runs")
    if study.plan and rules.looks and seeds not in rules.looks:
        post_hoc.append(f"seeds per arm: {seeds}, no declared look")
    if study.plan and any(e["kind"] == "exploratory" for e in study.plan.content["extensions"]):
        post_hoc.append("extended without a declared look")
    return replace(rules, post_hoc=tuple(post_hoc))


def completed_look(study: StudyRuns) -> StudyRuns | None:
    """The study as it stood at the last look that is complete; None where none is yet.

    A look is complete where every arm that was planned first has all runs of as many seeds as it
    declares; the seeds beyond it, and arms of extensions that still run, are left out. Runs without
    a plan are taken whole.
    """
    if study.plan is None:
        return study
    planned = list(dict.fromkeys(cell.seed for cell in study.plan.cells))
    for look in sorted(study.plan.content["plan"]["looks"], reverse=True):
        seeds = set(planned[:look])
        arms = [arm for arm in study.arms if seeds <= {seed.seed for seed in arm.seeds}]
        if arms and set(study.plan.first_arms) <= {arm.name for arm in arms}:
            kept = [
                replace(arm, seeds=tuple(seed for seed in arm.seeds if seed.seed in seeds))
                for arm in arms
            ]
            factors = {
                key: [value for value in values if any(arm.levels[key] == value for arm in arms)]
                for key, values in study.factors.items()
            }
            return replace(study, arms=tuple(kept), factors=factors)
    return None


_PLANNED = ("contrasts", "metric", "margin", "alpha", "power", "paired", "estimand")


def questions(study: StudyRuns, contrasts: str | Sequence[str]) -> tuple[list[Question], int]:
    """What the study asks: its pairs of arms, or the effects of crossed factors.

    Returns:
        Those whose arms are there, and how many the plan has: they stay one family.

    Raises:
        InputError: too few arms are there to ask anything.
    """
    names = [arm.name for arm in study.arms]
    first = study.plan.first_arms if study.plan else []
    planned = [*first, *(name for name in names if name not in first)]  # and extensions that ran
    missing = [name for name in first if name not in names]
    if len(names) < 2 and not missing:
        raise InputError(f"{study.folders[0]}: one arm only; there is nothing to compare")
    factors = _factors(study, planned)
    full = len(planned) == np.prod([len(values) for values in factors])
    if contrasts == "baseline" and len(factors) > 1 and full:
        if missing:
            raise InputError(
                f"{study.folders[0]}: no finished run of {counted(len(missing), 'arm')}, the first "
                f"is {missing[0]}: the effects of crossed factors take all of them; run the rest "
                "by the same segbench sweep"
            )
        found = _crossed(study)
        return found, len(found)
    family = len(pairs(contrasts, planned) if isinstance(contrasts, str) else contrasts)
    if contrasts == "baseline" and planned[0] in missing:
        contrasts = []
    if not isinstance(contrasts, str):
        contrasts = [pair for pair in contrasts if set(pair.split(" - ")) <= set(names)]
    found = [
        Question(" x ".join(study.factors), names[a], names[b], _weights(len(names), {a: -1, b: 1}))
        for a, b in pairs(contrasts, names)
    ]
    if not found:
        raise InputError(f"{study.folders[0]}: no pair of its plan has finished runs in both")
    return found, family


def _factors(study: StudyRuns, planned: Sequence[str]) -> list[set[str]]:
    """The levels of each factor, by name, over arms that are there and those that are missing."""
    levels = [arm.levels for arm in study.arms]
    if study.plan:
        levels += [cell.arm for cell in study.plan.first_cells if arm_name(cell.arm) in planned]
    return [{level_name(key, one[key]) for one in levels} for key in study.factors]


def _crossed(study: StudyRuns) -> list[Question]:
    """Main effects, averaged over the other factors, then interactions of two."""
    found = []
    for factor, values in study.factors.items():
        for value in values[1:]:
            signs = [_sign(arm, factor, values[0], value) for arm in study.arms]
            weights = tuple(s / (sum(map(abs, signs)) / 2) for s in signs)
            base, level = (level_name(factor, v) for v in (values[0], value))
            found.append(Question(factor, base, level, weights))
    for (one, firsts), (other, seconds) in combinations(study.factors.items(), 2):
        for a, b in product(firsts[1:], seconds[1:]):
            signs = [
                _sign(arm, one, firsts[0], a) * _sign(arm, other, seconds[0], b)
                for arm in study.arms
            ]
            weights = tuple(s / (sum(map(abs, signs)) / 4) for s in signs)
            both = f"{level_name(one, a)} and {level_name(other, b)}"
            found.append(Question(f"{one} x {other}", "the sum of both effects", both, weights))
    return found


def _sign(arm: StudyArm, factor: str, base: Any, level: Any) -> int:
    return int(arm.levels[factor] == level) - int(arm.levels[factor] == base)


def _weights(number: int, given: Mapping[int, float]) -> tuple[float, ...]:
    return tuple(float(given.get(i, 0)) for i in range(number))
