"""Why augmentation helps or hurts: gaps on clean images, effects of its parts, affinity, diversity.

docs/AUGMENTATION.md has the definitions in words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segbench import metrics
from segbench.analysis import stats
from segbench.analysis.compare import Contrast, judge
from segbench.analysis.curves import at_best, curve
from segbench.analysis.questions import SCORES, Rules
from segbench.analysis.recipes import Recipe, Recipes, asked_of, recipes_of
from segbench.analysis.stats import Arm
from segbench.analysis.study import StudyArm, StudyRuns
from segbench.probes import PolicyAudit, crop_scores_of, policy_of

Floats = NDArray[np.float64]

LEVEL = 0.95  # of the intervals of affinity and diversity, which decide nothing
SCORED = ("train", "train_clean", "val")

Outcome = Literal["helps", "hurts", "no difference", "inconclusive", "not assessable"]


@dataclass(frozen=True)
class Value:
    """A mean or a difference of means over seeds, with its interval; None for one seed."""

    value: float
    low: float | None
    high: float | None

    @property
    def falls(self) -> bool:
        return self.high is not None and self.high < 0

    @property
    def rises(self) -> bool:
        return self.low is not None and self.low > 0


@dataclass(frozen=True)
class Gap:
    """An arm on clean training, validation and test images: mean IoU of the tested checkpoints.

    Args:
        arm: its name.
        baseline: that of the arm it is held against; None for one that is a baseline itself.
        seeds: that did not diverge.
        train: on the crops it practised on, augmented, while it did.
        train_clean: on training images as they are.
        val: on validation images.
        test: on test images.
        changes: against the baseline, of ``train``, ``train_clean`` and ``val``, and of the gaps
            ``practice`` (train - train_clean) and ``generalisation`` (train_clean - val). They
            speak of new seeds on the same images, at the level that all arms share.
        word: what that is called.
        why: in words.
    """

    arm: str
    baseline: str | None
    seeds: int
    train: float
    train_clean: float
    val: float
    test: float
    changes: dict[str, Value]
    word: str
    why: str


@dataclass(frozen=True)
class Effect:
    """A verdict on a part of augmentation."""

    kind: str
    what: str
    contrast: Contrast


@dataclass(frozen=True)
class Affinity:
    """How far a policy moves images from what a clean network knows, and how hard they are.

    Gontijo-Lopes et al., Tradeoffs in Data Augmentation, ICLR 2021.

    Args:
        arm: whose policy it is.
        affinity: mean IoU of the baseline's networks on augmented validation crops, as a share of
            that on plain ones; None where it was not measured.
        of_classes: the same of each class's IoU; None where a class is not found on plain crops.
        crops: that were looked at, by each network.
        diversity: final training loss, as a multiple of the baseline's.
    """

    arm: str
    affinity: Value | None
    of_classes: dict[str, float | None]
    crops: int
    diversity: Value | None


@dataclass(frozen=True)
class Explanation:
    """All that a study says of its augmentation; audits by arm, where they were made."""

    recipes: Recipes
    gaps: list[Gap]
    effects: list[Effect]
    affinities: list[Affinity]
    audits: dict[str, PolicyAudit]


def explain(study: StudyRuns, rules: Rules) -> Explanation:
    """Gaps, effects as one family, affinity and diversity, and the audits of the policies.

    Raises:
        InputError: no two arms differ in their augmentation alone.
    """
    recipes = recipes_of(study)
    asked = asked_of(recipes)
    contrasts = judge(study, rules, [a.question for a in asked], SCORES["mean_iou"], "mean_iou")
    effects = [Effect(a.kind, a.what, c) for a, c in zip(asked, contrasts, strict=True)]
    audits = _audits(recipes)
    against = {e.contrast.arm: e.contrast for e in effects if e.kind == "baseline"}
    return Explanation(
        recipes,
        _gaps(study, rules, recipes, against, audits),
        effects,
        [_affinity(study, recipes, one) for one in recipes.augmented()],
        audits,
    )


def _audits(recipes: Recipes) -> dict[str, PolicyAudit]:
    found = {}
    for one in recipes.of:
        audits = (policy_of(run) for seed in one.arm.seeds for run in seed.runs)
        audit = next((audit for audit in audits if audit), None)
        if audit is not None:
            found[one.name] = audit
    return found


def _gaps(
    study: StudyRuns,
    rules: Rules,
    recipes: Recipes,
    against: Mapping[str, Contrast],
    audits: Mapping[str, PolicyAudit],
) -> list[Gap]:
    level = 1 - rules.level / len(recipes.augmented())
    scores = {one.name: _at_best(one.arm) for one in recipes.of}
    found = []
    for one in recipes.of:
        base = recipes.baseline(one)
        changes = _changes(scores[one.name], scores[base.name], level) if base else {}
        word, why = "", ""
        if base is not None:
            damage = audits[one.name].damage if one.name in audits else []
            word, why = word_of(against[one.name], changes, damage)
        found.append(
            Gap(
                arm=one.name,
                baseline=base.name if base else None,
                seeds=len(one.arm.counts()),
                **{split: _mean(scores[one.name][split]) for split in SCORED},
                test=_mean(metrics.mean_iou(one.arm.counts().sum(1))),
                changes=changes,
                word=word,
                why=why,
            )
        )
    return found


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")


def _at_best(arm: StudyArm) -> dict[str, Floats]:
    """Scores of each seed at the epoch whose checkpoint was tested, and the gaps between [S]."""
    scores = {split: at_best(arm, f"{split}/mean_iou") for split in SCORED}
    return scores | {
        "practice": scores["train"] - scores["train_clean"],
        "generalisation": scores["train_clean"] - scores["val"],
    }


def _changes(own: dict[str, Floats], base: dict[str, Floats], level: float) -> dict[str, Value]:
    return {key: over_seeds([1, -1], [own[key], base[key]], level) for key in own}


def over_seeds(weights: Sequence[float], values: Sequence[Floats], level: float) -> Value:
    """A contrast of means over seeds, of values that are measured on the same images."""
    if not all(map(len, values)):
        return Value(float("nan"), None, None)
    arms = [Arm(one, np.zeros((len(one), 0))) for one in values]
    found = stats.estimate(weights, arms, estimand="test_set")
    if min(map(len, values)) < 2:
        return Value(found.difference, None, None)
    return Value(found.difference, *stats.interval(found, level))


def outcome_of(effect: Contrast, changes: Mapping[str, Value]) -> tuple[Outcome, str]:
    """Whether an arm does better than its baseline, and on which images that shows.

    On test by the family's verdict; only to find it worse, else on val, by its seeds.
    """
    if effect.verdict == "not assessable":
        return "not assessable", ""
    if "better" in effect.verdict:
        return "helps", "test"
    if "worse" in effect.verdict:
        return "hurts", "test"
    if changes["val"].falls:
        return "hurts", "val"
    return ("no difference" if effect.verdict == "equivalent" else "inconclusive"), ""


def lost_where(changes: Mapping[str, Value]) -> tuple[str, str]:
    """What the gaps of an arm that does worse call it, and why."""
    clean, practice = changes["train_clean"], changes["practice"]
    if clean.falls and not practice.rises:
        return "underfits", "clean training images fall too"
    if clean.falls:
        return "shift", "it fits the crops it practises on, and the same images as they are less"
    if changes["generalisation"].rises:
        return "shift", "clean training images do not fall"
    return "worse", "the gaps do not say why"


def word_of(
    effect: Contrast, changes: Mapping[str, Value], damage: Sequence[str]
) -> tuple[str, str]:
    """What an arm's scores against its baseline's are called, and why."""
    if damage:
        return "label damage", "; ".join(damage)
    outcome, where = outcome_of(effect, changes)
    match outcome:
        case "helps":
            negligible = "equivalent" in effect.verdict
            return "works", "better on test" + (", by less than the margin" if negligible else "")
        case "hurts":
            word, why = lost_where(changes)
            return word, f"worse on {where}; {why}"
        case "no difference":
            return "no difference", f"equivalent within {effect.margin} on test"
        case "inconclusive":
            return "no difference shown", "inconclusive on test"
    return "not assessable", effect.reason


def _affinity(study: StudyRuns, recipes: Recipes, one: Recipe) -> Affinity:
    base = recipes.baseline(one)
    assert base is not None
    policy = (one.augmentation, one.strength)
    probes = [
        probe
        for seed in base.arm.seeds
        if not seed.diverged and (probe := crop_scores_of(seed.runs[0])) and policy in probe.moved
    ]
    diversity = _diversity(one.arm, base.arm)
    if not base.clean or not probes:
        return Affinity(one.name, None, {}, 0, diversity)
    plain = np.stack([probe.plain for probe in probes])
    moved = np.stack([probe.moved[policy] for probe in probes])
    affinity = over_seeds([1], [metrics.mean_iou(moved) / metrics.mean_iou(plain)], LEVEL)
    of_classes = _ratios_of_classes(study.classes, plain, moved)
    return Affinity(one.name, affinity, of_classes, probes[0].crops, diversity)


def _ratios_of_classes(
    names: Sequence[str], plain: NDArray[np.int64], moved: NDArray[np.int64]
) -> dict[str, float | None]:
    before, after = (metrics.class_iou(counts.sum(0)) for counts in (plain, moved))
    return {
        name: float(b / a) if a > 0 and not np.isnan(b) else None
        for name, a, b in zip(names, before, after, strict=True)
    }


def _diversity(arm: StudyArm, base: StudyArm) -> Value | None:
    losses = [curve(one, "train/loss") for one in (arm, base)]
    if not all(one.size and (one[:, -1] > 0).all() for one in losses):
        return None
    logs = over_seeds([1, -1], [np.log(one[:, -1]) for one in losses], LEVEL)
    low, high = (None if bound is None else float(np.exp(bound)) for bound in (logs.low, logs.high))
    return Value(float(np.exp(logs.value)), low, high)
