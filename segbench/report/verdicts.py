"""The verdicts of a study as tables and as sentences that a person can quote."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from segbench import metrics
from segbench.analysis.compare import FEW_GROUPS_OF_A_CLASS, Contrast, best_set, means_of
from segbench.analysis.curves import CurveDifference, Fluctuation, Overfitting
from segbench.analysis.questions import SCORES, Rules
from segbench.analysis.stats import FEWEST_GROUPS
from segbench.analysis.study import StudyArm, StudyRuns
from segbench.wording import counted

FACTORS = {
    "data.augmentation": "Augmentation",
    "model.aspp": "ASPP",
    "model.architecture": "Architecture",
    "model.backbone": "Backbone",
    "config": "Configuration",
}
METRICS = {"mean_iou": "mean IoU", "mean_class_acc": "mean class accuracy", "mean_acc": "accuracy"}


def sentence(contrast: Contrast, study: StudyRuns) -> str:
    """One contrast in words, with all that a reader needs to weigh it."""
    metric = metric_name(contrast.metric)
    what = f"{factor_name(contrast.factor)} ({contrast.arm} against {contrast.baseline})"
    of = f" of {network}" if (network := common_network(study)) else ""
    if contrast.seeds == 0:
        return f"{what}: {verdict_words(contrast)}."
    if contrast.ci_low is None:
        return (
            f"{what} changes the {metric}{of} by {difference(contrast)} ({basis(contrast)}): "
            f"{verdict_words(contrast)}."
        )
    level = f"{100 * contrast.ci_level:.4g} %"
    return (
        f"{what} changes the {metric}{of} by {difference(contrast)} {bounds(contrast)} "
        f"({level}, {basis(contrast)}): {verdict_words(contrast)}."
    )


def basis(contrast: Contrast) -> str:
    """What a contrast rests on, and what it speaks of where that is less than usual."""
    return (
        f"{counted(contrast.seeds, 'seed')}, {counted(contrast.images, 'image')} in "
        f"{counted(contrast.groups, 'group')}"
        + (f", {counted(contrast.diverged, 'seed')} diverged" if contrast.diverged else "")
        + (", these test images only" if contrast.estimand == "test_set" else "")
        + (", these checkpoints only" if contrast.estimand == "checkpoints" else "")
    )


def difference(contrast: Contrast) -> str:
    """With its sign, or nothing where an arm has no seed to speak for it."""
    return f"{contrast.difference:+.3f}" if contrast.seeds else ""


def bounds(contrast: Contrast) -> str:
    """The interval of a contrast, or nothing where it has none."""
    if contrast.ci_low is None:
        return ""
    return f"[{contrast.ci_low:+.3f}, {contrast.ci_high:+.3f}]"


def verdict_words(contrast: Contrast) -> str:
    """The verdict, what it depends on, and what is missing for one."""
    words = {
        "better": "better",
        "worse": "worse",
        "equivalent": f"equivalent within {contrast.margin}",
        "better and equivalent": f"better, but by less than {contrast.margin}: negligible",
        "worse and equivalent": f"worse, but by less than {contrast.margin}: negligible",
    }.get(contrast.verdict, contrast.verdict)
    if contrast.beyond_margin:
        words += f", by more than the margin {contrast.margin}"
    if contrast.verdict == "not assessable":
        words += f": {contrast.reason}"
    elif contrast.needed.advice:
        words += f"; {contrast.needed.advice}"
    if contrast.verdict_with_diverged not in (None, contrast.verdict):
        words += f" (with the diverged seeds: {contrast.verdict_with_diverged})"
    return words + (f" [post hoc: {', '.join(contrast.post_hoc)}]" if contrast.post_hoc else "")


def names_of(contrasts: Sequence[Contrast]) -> list[str]:
    """What each is called; of several factors, whose switches may have the same names, by those."""
    several = len({c.factor for c in contrasts}) > 1
    return [
        (f"{factor_name(c.factor)}: " if several else "") + f"{c.arm} - {c.baseline}"
        for c in contrasts
    ]


def factor_name(factor: str) -> str:
    """A factor as a person calls it."""
    return " x ".join(FACTORS.get(key, key.rsplit(".", 1)[-1]) for key in factor.split(" x "))


def metric_name(metric: str) -> str:
    """A score as a person calls it."""
    return METRICS.get(metric, metric)


def common_network(study: StudyRuns) -> str:
    """The network that all runs share, or nothing."""
    networks = {arm.network for arm in study.arms}
    return networks.pop() if len(networks) == 1 else ""


def verdict_table(study: StudyRuns, rules: Rules, contrasts: Sequence[Contrast]) -> Table:
    """One row per contrast."""
    level = f"{100 * contrasts[0].ci_level:.4g} % interval"
    table = Table(title=f"{metric_name(rules.metric)} in {escape(str(study.folders[0]))}")
    for column in ("contrast", "difference", level, "verdict", "one seed misleads"):
        table.add_column(column, overflow="fold")
    for name, c in zip(names_of(contrasts), contrasts, strict=True):
        misleads = "" if c.single_seed_misleads is None else f"{c.single_seed_misleads:.0%}"
        row = (name, difference(c), bounds(c), verdict_words(c))
        table.add_row(*(escape(cell) for cell in row), misleads)
    return table


def arm_table(study: StudyRuns, arms: Iterable[Fluctuation]) -> Table:
    """Scores of each arm, its clean training score, and how much and why its curves fluctuate."""
    table = Table(title="Arms: mean over seeds; standard deviations of mean IoU by their source")
    columns = ("arm", "seeds", *map(metric_name, SCORES), "train (clean)", "gap to val")
    for column in (*columns, "SD last epochs", "SD seeds", "SD test images"):
        table.add_column(column, justify="left" if column == "arm" else "right", overflow="fold")
    for arm, found in zip(study.arms, arms, strict=True):
        scores = [_cell(value, ".3f") for value in means_of(arm).values()]
        seeds = str(len(arm.seeds)) + (f" ({arm.diverged} diverged)" if arm.diverged else "")
        spreads = (found.within, found.between, found.images)
        table.add_row(
            escape(arm.name), seeds, *scores,
            _cell(found.train_clean, ".3f"), _cell(found.gap, "+.3f"),
            *("" if spread is None else f"{spread:.3f}" for spread in spreads),
        )  # fmt: skip
    return table


def _cell(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def class_table(study: StudyRuns, contrasts: Sequence[Contrast]) -> Table:
    """Differences of each class's IoU, an exploratory family of their own.

    Half of the interval stands behind a difference; a star marks those that the family's Holm
    procedure calls different.
    """
    level = f"{100 * contrasts[0].ci_level:.4g} % intervals"
    title = f"IoU of each class: exploratory, {level}, * = different (Holm over this table)"
    table = Table(title=title)
    table.add_column("contrast", overflow="fold")
    groups = dict(zip(study.classes, study.groups_of_classes, strict=True))
    shown = list(dict.fromkeys(c.metric for c in contrasts))
    for metric in shown:
        name = metric.removeprefix("iou/")
        table.add_column(f"{escape(name)} ({counted(groups[name], 'group')})", justify="right")
    rows: dict[str, dict[str, str]] = {}
    for name, c in zip(names_of(contrasts), contrasts, strict=True):
        half = "" if c.ci_high is None else f" ±{c.ci_high - c.difference:.3f}"
        star = "*" if "better" in c.verdict or "worse" in c.verdict else ""
        row = rows.setdefault(escape(name), {})
        row[c.metric] = f"{difference(c)}{half}{star}"
    for name, row in rows.items():
        table.add_row(name, *(row.get(metric, "") for metric in shown))
    return table


def convention_table(study: StudyRuns) -> Table:
    """Each arm's place under the three conventions of mean IoU that reports use."""
    table = Table(title="Ranking under three conventions of mean IoU")
    table.add_column("arm", overflow="fold")
    columns: dict[str, Callable[[Any], Any]] = {
        "summed matrix (segbench)": lambda counts: metrics.mean_iou(counts.sum(0)),
        "per image, absent = 0": lambda counts: metrics.mean_iou_per_image(counts, 0),
        "per image, absent = 1": lambda counts: metrics.mean_iou_per_image(counts, 1),
    }
    arms = [arm for arm in study.arms if len(arm.counts())]
    values = {
        name: [float(np.mean([score(one) for one in arm.counts()])) for arm in arms]
        for name, score in columns.items()
    }
    for name in columns:
        table.add_column(name, justify="right")
    for number, arm in enumerate(arms):
        cells = []
        for name in columns:
            place = 1 + sum(other > values[name][number] for other in values[name])
            cells.append(f"{values[name][number]:.3f} ({place}.)")
        table.add_row(escape(arm.name), *cells)
    return table


def curve_lines(differences: Iterable[CurveDifference], arms: Iterable[Overfitting]) -> list[str]:
    """What the curves show, in words; epochs count from 1, as on the axes of figures."""
    lines = []
    for d in differences:
        if d.ahead_from is not None:
            ahead, behind = (d.arm, d.baseline) if d.mean[-1] > 0 else (d.baseline, d.arm)
            lines.append(f"on val, {ahead} is ahead of {behind} from epoch {d.ahead_from + 1} on")
        turns = np.flatnonzero(np.diff(np.sign(d.mean)))
        if d.ahead_from is None and len(d.mean) > 1:
            lines.append(
                f"on val, {d.arm} and {d.baseline} change places {counted(len(turns), 'time')}, "
                "and no band stays clear of zero"
            )
    for found in arms:
        if found.onset is not None:
            lines.append(
                f"{found.arm} overfits from epoch {found.onset + 1}: val falls by {found.lost:.3f} "
                "by the end while the clean training score rises"
            )
    return lines


def warnings_of(study: StudyRuns, contrasts: Sequence[Contrast]) -> list[str]:
    """What a reader of the verdicts has to know beforehand."""
    found = list(study.notes)
    if study.number_of_groups < FEWEST_GROUPS:
        found.append(f"few groups of test images: {study.number_of_groups}")
    known = list(zip(study.classes, study.groups_of_classes, strict=True))
    if absent := [name for name, number in known if not number]:
        found.append(f"no test image has {', '.join(absent)}: left out of all means")
    rare = [f"{name} ({number})" for name, number in known if 0 < number < FEW_GROUPS_OF_A_CLASS]
    if rare:
        found.append(
            f"classes in fewer than {FEW_GROUPS_OF_A_CLASS} groups of test images weigh as much as "
            f"others and rest on little: {', '.join(rare)}"
        )
    numbers = {arm.name: len(arm.seeds) for arm in study.arms}
    if len(set(numbers.values())) > 1:
        found.append(f"arms have unequal numbers of seeds: {numbers}")
    for arm in study.arms:
        if arm.diverged:
            found.append(
                f"{arm.name}: {arm.diverged} of {counted(len(arm.seeds), 'seed')} diverged "
                "(no finite loss, or no better than calling everything the commonest class): "
                "train longer, or lower model.lr"
            )
        gained = means_of(arm)["mean_iou"] - study.majority_iou
        if any(gained < c.margin for c in contrasts):
            found.append(
                f"{arm.name} hardly learned: its mean IoU is {gained:.3f} above that of calling "
                f"everything the commonest class ({study.majority_iou:.3f})"
            )
    for name, c in zip(names_of(contrasts), contrasts, strict=True):
        if c.bootstrap_disagrees:
            found.append(
                f"{name}: resampling gives a standard error of "
                f"{c.bootstrap_se:.4f}, more than a fifth away from the one that is used"
            )
    if len(_machines(study.arms, "cpu", "gpus", "threads", "accelerator", "devices")) > 1:
        found.append("the runs come from different hardware: their times do not compare")
    if len(_machines(study.arms, "devices")) > 1:
        found.append(
            "the runs used different numbers of devices, each with data.batch_size: their batches "
            "and steps do not compare either; set trainer.devices"
        )
    return found


def _machines(arms: Iterable[StudyArm], *keys: str) -> set[str]:
    records = [record for arm in arms for seed in arm.seeds for record in seed.records]
    return {str([record["hardware"][key] for key in keys]) for record in records}


def best_line(study: StudyRuns, rules: Rules, contrasts: Sequence[Contrast]) -> str:
    """The arms among which the best one is."""
    names = best_set(contrasts, {arm.name: means_of(arm)[rules.metric] for arm in study.arms})
    if not names:
        return "highest mean: none, all seeds diverged"
    rest = f"; not shown to be worse: {'; '.join(names[1:])}" if names[1:] else ""
    return f"highest mean: {names[0]}{rest}"


def as_csv(contrasts: Sequence[Contrast]) -> str:
    """One row per contrast, the columns of ``--json``; a name cannot be a spreadsheet's formula."""
    text = io.StringIO()
    rows = [{k: _no_formula(v) for k, v in c.as_json().items()} for c in contrasts]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _no_formula(value: Any) -> Any:
    """A text that a spreadsheet would run, with the quote that keeps it one (OWASP's advice)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(tuple("=+-@\t\r")) else value


def as_markdown(contrasts: Sequence[Contrast]) -> str:
    """A table for a report."""
    lines = ["| contrast | difference | interval | verdict |", "|---|---|---|---|"]
    for name, c in zip(names_of(contrasts), contrasts, strict=True):
        row = (name, difference(c), bounds(c), verdict_words(c))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines) + "\n"
