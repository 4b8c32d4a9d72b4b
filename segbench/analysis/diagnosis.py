"""What makes augmentation hurt, by explicit rules from what was found.

Each possible cause is shown, suspected, ruled out, not shown, or was not looked at; nothing is
said of causes where no interval shows any harm. docs/AUGMENTATION.md lists the rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from segbench.analysis.augmentation import (
    Effect,
    Explanation,
    Gap,
    Outcome,
    Value,
    lost_where,
    outcome_of,
)
from segbench.analysis.compare import Contrast
from segbench.analysis.recipes import Recipe
from segbench.probes import PolicyAudit

Status = Literal["shown", "suspected", "ruled out", "not shown", "not looked at"]

SAME_SIZE = (0.8, 1.25)
"""The scale at which crops show the median object, up to which it is called that of evaluation."""


@dataclass(frozen=True)
class Cause:
    """A possible cause of harm, and what speaks for it or against."""

    name: str
    status: Status
    evidence: str


@dataclass(frozen=True)
class Diagnosis:
    """One policy against its baseline.

    Args:
        arm: its name.
        outcome: what its scores show.
        where: the images they show it on.
        effect: the verdict on test.
        val: the difference on val.
        causes: of harm; none where none is shown.
        notes: what else is shown.
    """

    arm: str
    outcome: Outcome
    where: str
    effect: Contrast
    val: Value
    causes: list[Cause]
    notes: list[str]


def diagnose(found: Explanation) -> list[Diagnosis]:
    """A diagnosis of each whole policy; its parts and what is left without one are evidence."""
    gaps = {gap.arm: gap for gap in found.gaps}
    against = {e.contrast.arm: e.contrast for e in found.effects if e.kind == "baseline"}
    return [_diagnosis(found, one, gaps[one.name], against[one.name]) for one in _wholes(found)]


def _wholes(found: Explanation) -> list[Recipe]:
    without = [e for e in found.effects if e.kind == "leaving out"]
    names = {e.contrast.arm for e in without}
    parts = {e.what for e in without}
    return [
        one
        for one in found.recipes.augmented()
        if one.name not in names and one.augmentation not in parts
    ]


def _diagnosis(found: Explanation, one: Recipe, gap: Gap, effect: Contrast) -> Diagnosis:
    without = {
        e.what: e.contrast
        for e in found.effects
        if e.kind == "leaving out" and e.contrast.baseline == one.name
    }
    audit = found.audits.get(one.name)
    outcome, where = outcome_of(effect, gap.changes)
    causes = []
    if outcome == "hurts":
        causes = [
            _labels(audit),
            _scale(audit, without.get("scale"), gap),
            *_parts(without, audit),
            *_gap_causes(gap, effect.margin),
        ]
    notes = _notes(outcome, without, audit) + _longer_or_weaker(found.effects, one)
    return Diagnosis(one.name, outcome, where, effect, gap.changes["val"], causes, notes)


def _labels(audit: PolicyAudit | None) -> Cause:
    if audit is None:
        return Cause("label damage", "not looked at", "the training images were not at hand")
    if audit.damage:
        return Cause("label damage", "shown", "; ".join(audit.damage))
    return Cause("label damage", "ruled out", f"labels are sound in {audit.draws} crops")


def _mismatch(audit: PolicyAudit | None) -> bool:
    low, high = SAME_SIZE
    return audit is not None and audit.scale is not None and not low <= audit.scale[0] <= high


def _scale(audit: PolicyAudit | None, without: Contrast | None, gap: Gap) -> Cause:
    name = "scale mismatch"
    if audit is None or audit.scale is None:
        return Cause(name, "not looked at", "the training images were not at hand")
    size = f"crops show objects at {audit.scale[0]:.2f} of their size in evaluation"
    if not _mismatch(audit):
        return Cause(name, "ruled out", size)
    if without is None:
        status: Status = "suspected" if lost_where(gap.changes)[0] == "shift" else "not shown"
        return Cause(name, status, f"{size}; no arm leaves scale out alone")
    if "better" in without.verdict:
        return Cause(name, "shown", f"{size}; leaving scale out restores {shown(without)}")
    return Cause(
        name,
        "not shown",
        f"{size}, but leaving scale out changes {shown(without)}, {without.verdict}",
    )


def _parts(without: dict[str, Contrast], audit: PolicyAudit | None) -> list[Cause]:
    """Parts that cost, but for scale where its mismatch is named as the cause already."""
    looked = {part: c for part, c in without.items() if part != "scale" or not _mismatch(audit)}
    harmful = [part for part, c in looked.items() if "better" in c.verdict]
    if harmful:
        return [
            Cause(f"its part {part}", "shown", f"leaving it out restores {shown(looked[part])}")
            for part in harmful
        ]
    if looked:
        names = ", ".join(looked)
        return [Cause("a single part", "not shown", f"leaving out {names}: no gain is shown")]
    return []


def _gap_causes(gap: Gap, margin: float) -> list[Cause]:
    word, why = lost_where(gap.changes)
    clean = gap.changes["train_clean"]
    score = f"the clean training score changes by {shown(clean)}"
    if word == "underfits":
        fit = Cause("underfitting", "shown", score)
    elif clean.low is not None and clean.low > -margin:
        fit = Cause("underfitting", "ruled out", score)
    else:
        fit = Cause("underfitting", "not shown", score)
    if word == "shift":
        return [fit, Cause("a shift of what it learns from", "shown", why)]
    return [fit]


def _notes(outcome: Outcome, without: dict[str, Contrast], audit: PolicyAudit | None) -> list[str]:
    notes = []
    if audit is not None and audit.no_op:
        notes.append("the policy changes nothing: it is a no-op")
    if outcome == "hurts":
        return notes
    if audit is not None and audit.damage:
        notes.append(f"its labels are damaged: {'; '.join(audit.damage)}")
    for part, contrast in without.items():
        if "better" in contrast.verdict:
            notes.append(f"leaving {part} out gains {shown(contrast)}")
        elif "worse" in contrast.verdict:
            notes.append(f"leaving {part} out costs {shown(contrast)}")
    return notes


def _longer_or_weaker(effects: Sequence[Effect], one: Recipe) -> list[str]:
    notes = []
    for effect in effects:
        contrast = effect.contrast
        if effect.kind == "budget" and contrast.arm == one.name:
            means = {
                "better": "it needs longer training than the baseline",
                "worse": "longer training helps the baseline more",
                "equivalent": "longer training does not change that",
            }.get(contrast.verdict.split(" ")[0], contrast.verdict)
            notes.append(
                f"with {effect.what} its difference from the baseline changes by "
                f"{shown(contrast)}: {means}"
            )
        if effect.kind == "strength" and contrast.baseline == one.name:
            notes.append(
                f"at strength {effect.what} it changes by {shown(contrast)}: {contrast.verdict}"
            )
    return notes


def shown(found: Contrast | Value) -> str:
    """A difference with its interval."""
    if isinstance(found, Contrast):
        found = Value(found.difference, found.ci_low, found.ci_high)
    if found.low is None:
        return f"{found.value:+.3f}"
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
