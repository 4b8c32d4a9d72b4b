"""Why augmentation helps or hurts, as tables and sentences."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from segbench.analysis.augmentation import Affinity, Effect, Explanation, Value
from segbench.analysis.diagnosis import Diagnosis, shown
from segbench.analysis.study import StudyRuns
from segbench.probes import PolicyAudit
from segbench.report.verdicts import bounds, difference, sentence, verdict_words

SHEET = "augmentation.jpg"
"""In a study's folder: crops of each arm, for the report page."""

WORST_CLASSES = 3  # of an affinity, that are named


def tables(study: StudyRuns, found: Explanation) -> Iterator[Table]:
    """Those that have rows."""
    yield gap_table(found)
    yield effect_table(found.effects)
    if found.audits:
        yield audit_table(study, found.audits)
    yield affinity_table(found.affinities)


def gap_table(found: Explanation) -> Table:
    """Scores on augmented, clean, validation and test images, and what their gaps are called."""
    table = Table(
        title="Mean IoU of the tested checkpoints; in brackets the change against the baseline "
        "over new seeds"
    )
    table.add_column("arm", overflow="fold")
    columns = ("train crops", "train clean", "val", "test", "crops - clean", "clean - val")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("word", overflow="fold")
    for gap in found.gaps:
        values = {
            "train": gap.train,
            "train_clean": gap.train_clean,
            "val": gap.val,
            "test": gap.test,
            "practice": gap.train - gap.train_clean,
            "generalisation": gap.train_clean - gap.val,
        }
        cells = [_with_change(value, gap.changes.get(key)) for key, value in values.items()]
        word = f"{gap.word}: {gap.why}" if gap.word else "(baseline)"
        table.add_row(escape(gap.arm), *cells, escape(word))
    return table


def _with_change(value: float, change: Value | None) -> str:
    if math.isnan(value):
        return ""
    if change is None or change.low is None or change.high is None:
        return f"{value:.3f}"
    return f"{value:.3f} " + escape(f"[{change.low:+.3f}, {change.high:+.3f}]")


KINDS = {
    "baseline": "against the baseline",
    "leaving out": "leaving out",
    "strength": "strength",
    "budget": "gap with",
}


def effect_table(effects: Sequence[Effect]) -> Table:
    """Differences of test mean IoU, judged together."""
    level = f"{100 * effects[0].contrast.ci_level:.4g} % interval"
    table = Table(
        title=f"Effects on test mean IoU: one family of {len(effects)}, beside the plan's own "
        "verdicts (segbench compare)"
    )
    for column in ("question", "contrast", "difference", level, "verdict"):
        table.add_column(column, overflow="fold")
    for effect in effects:
        c = effect.contrast
        what = "" if effect.kind == "baseline" else f" {effect.what}"
        words = (f"{KINDS[effect.kind]}{what}", f"{c.arm} - {c.baseline}", difference(c))
        table.add_row(*map(escape, (*words, bounds(c), verdict_words(c))))
    return table


def audit_table(study: StudyRuns, audits: Mapping[str, PolicyAudit]) -> Table:
    """What each arm's policy does to training crops."""
    draws = min(audit.draws for audit in audits.values())
    table = Table(
        title=f"Policies, in {draws} crops each against the plain crop around the same place; "
        "scale: 1 is that of evaluation"
    )
    table.add_column("arm", overflow="fold")
    columns = ("scale, median (5-95 %)", "image changed", "labels changed", "ignored")
    for column in columns:
        table.add_column(column, justify="right")
    for column in ("largest change of a class's share", "labels"):
        table.add_column(column, overflow="fold")
    for name, audit in audits.items():
        table.add_row(
            escape(name),
            _scale(audit),
            "nothing: a no-op" if audit.no_op else f"{audit.image_changed:.0%}",
            f"{audit.mask_changed:.0%}",
            f"{audit.ignore_before:.1%} → {audit.ignore_after:.1%}",
            escape(_class_change(study.classes, audit)),
            escape("; ".join(audit.damage) or "sound"),
        )
    return table


def _scale(audit: PolicyAudit) -> str:
    if audit.scale is None:
        return ""
    median, low, high = audit.scale
    return f"{median:.2f} ({low:.2f}-{high:.2f})"


def _class_change(classes: Sequence[str], audit: PolicyAudit) -> str:
    changes = [abs(b - a) for a, b in zip(audit.shares_before, audit.shares_after, strict=True)]
    most = changes.index(max(changes))
    before, after = audit.shares_before[most], audit.shares_after[most]
    return f"{classes[most]} {before:.1%} → {after:.1%}"


def affinity_table(affinities: Sequence[Affinity]) -> Table:
    """Affinity and diversity of each policy, and the classes it moves farthest."""
    crops = max(one.crops for one in affinities)
    looked = f" ({crops} validation crops)" if crops else ""
    table = Table(
        title="Affinity: the clean network's mean IoU on augmented crops over that on plain ones"
        f"{looked}; diversity: final training loss over the baseline's; 95 % over seeds"
    )
    table.add_column("arm", overflow="fold")
    for column in ("affinity", "diversity"):
        table.add_column(column, justify="right")
    table.add_column("classes moved farthest", overflow="fold")
    for one in affinities:
        known = {name: value for name, value in one.of_classes.items() if value is not None}
        worst = sorted(known, key=known.__getitem__)[:WORST_CLASSES]
        named = ", ".join(f"{name} {known[name]:.2f}" for name in worst)
        table.add_row(escape(one.arm), _ratio(one.affinity), _ratio(one.diversity), escape(named))
    return table


def _ratio(value: Value | None) -> str:
    if value is None:
        return ""
    if value.low is None:
        return f"{value.value:.2f}"
    return f"{value.value:.2f} " + escape(f"[{value.low:.2f}, {value.high:.2f}]")


def diagnosis_lines(study: StudyRuns, diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    """For each policy its verdict, then the cause, or that none is shown."""
    for one in diagnoses:
        yield f"{sentence(one.effect, study)} {explained(one)}".rstrip()


def explained(one: Diagnosis) -> str:
    """What a diagnosis says beyond the verdict."""
    said = []
    if one.where == "val":
        said.append(f"On these val images it is worse: {shown(one.val)}.")
    if one.outcome == "hurts":
        said += _causes(one)
    if one.outcome == "inconclusive":
        said.append("Harm is not shown, so no cause of any is named.")
    return " ".join([*said, *(f"{note[0].upper()}{note[1:]}." for note in one.notes)])


def _causes(one: Diagnosis) -> Iterator[str]:
    by_status: dict[str, list[str]] = {}
    for cause in one.causes:
        evidence = f"{cause.name} ({cause.evidence})"
        by_status.setdefault(cause.status, []).append(evidence)
    if "shown" in by_status:
        yield f"Cause: {'; '.join(by_status['shown'])}."
    elif "suspected" in by_status:
        yield f"No cause is shown; suspected: {'; '.join(by_status['suspected'])}."
    else:
        yield "No cause is shown."
    if "ruled out" in by_status:
        yield f"Not {'; not '.join(by_status['ruled out'])}."
    if "not shown" in by_status:
        yield f"Open: {'; '.join(by_status['not shown'])}."
    if "not looked at" in by_status:
        names = [cause.name for cause in one.causes if cause.status == "not looked at"]
        yield f"Not looked at: {', '.join(names)}."


def as_json(found: Explanation, diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "gaps": [asdict(gap) for gap in found.gaps],
        "effects": [
            {"kind": e.kind, "what": e.what, **e.contrast.as_json()} for e in found.effects
        ],
        "policies": {
            name: {**audit.as_json(), "no_op": audit.no_op, "damage": audit.damage}
            for name, audit in found.audits.items()
        },
        "affinity": [asdict(one) for one in found.affinities],
        "diagnosis": [
            {
                **{"arm": one.arm, "outcome": one.outcome, "where": one.where},
                "causes": [asdict(cause) for cause in one.causes],
                "notes": one.notes,
                "sentence": explained(one),
            }
            for one in diagnoses
        ],
    }
