"""What a study says, section by section, each from what analysis found."""

from collections.abc import Sequence
from functools import partial

from segbench.analysis.anatomy import Errors
from segbench.analysis.aspp import audit
from segbench.analysis.augmentation import explain
from segbench.analysis.compare import Contrast, compare, per_class
from segbench.analysis.cost import costs, runtime_of
from segbench.analysis.curves import curve, difference, fluctuation, overfitting
from segbench.analysis.diagnosis import diagnose
from segbench.analysis.questions import Rules
from segbench.analysis.study import StudyRuns
from segbench.pictures import read_photo
from segbench.report import aspp as aspp_report
from segbench.report import augmentation as augmentation_report
from segbench.report import cost as cost_report
from segbench.report import errors as errors_report
from segbench.report import verdicts
from segbench.report.figures import causes, cost, curves
from segbench.report.figures import errors as error_figures
from segbench.report.figures.verdicts import class_figure, forest_figure
from segbench.report.page.content import (
    Chart,
    Charts,
    Choice,
    Gallery,
    Missing,
    Part,
    Picture,
    Section,
    Sentences,
    Verdict,
    grid,
)
from segbench.report.page.pictures import as_data

QUANTITIES = {"mean_iou": verdicts.METRICS["mean_iou"], "loss": "loss"} | verdicts.METRICS
"""Of learning curves."""
SPLITS = {
    "train": "training, on augmented crops",
    "train_clean": "training images, clean and whole",
    "val": "validation",
}


def verdict_section(name: str, study: StudyRuns, rules: Rules) -> Section:
    """Does it help? In words, then as a forest of intervals, by class, and in tables."""
    contrasts = compare(study, rules)
    parts: list[Part] = [
        Verdict(
            contrast.verdict,
            verdicts.sentence(contrast, study),
            cost_report.price(contrast, study),
        )
        for contrast in contrasts
    ]
    if rules.contrasts == "all_pairs":
        parts.append(Sentences([verdicts.best_line(study, rules, contrasts)]))
    classes = per_class(study, rules)
    forest = Chart(
        f"{name}-forest", "Differences against the margin", _forest_words(contrasts),
        forest_figure(contrasts),
    )  # fmt: skip
    charts = [forest]
    if classes:
        words = (
            f"Exploratory, {100 * classes[0].ci_level:.4g} % intervals: the table below marks "
            "which ones its own Holm procedure calls different."
        )
        by_class = class_figure(classes, [arm.name for arm in study.arms])
        charts.append(Chart(f"{name}-classes", "Differences by class", words, by_class))
    parts.append(Charts(charts, wide=True))
    parts += [
        grid(verdicts.verdict_table(study, rules, contrasts), folded=False),
        grid(verdicts.arm_table(study, map(partial(fluctuation, study), study.arms))),
        *([grid(verdicts.class_table(study, classes))] if classes else []),
        grid(verdicts.convention_table(study)),
    ]
    parts += [Missing(f"note: {line}") for line in verdicts.warnings_of(study, contrasts)]
    return Section("verdicts", "Verdicts", parts)


def _forest_words(contrasts: Sequence[Contrast]) -> str:
    first = contrasts[0]
    level = f"{100 * first.ci_level:.4g} %"
    return (
        f"Test {verdicts.metric_name(first.metric)}: differences with {level} intervals, which "
        f"hold together; the band is the margin of ±{first.margin}. Better or worse: the interval "
        "is clear of zero. Equivalent: the difference is shown to be within the band."
    )


def curve_section(name: str, study: StudyRuns) -> Section:
    """Learning curves of four quantities on three sets of images, and differences between arms."""
    first, *others = study.arms
    differences = [difference(first, arm) for arm in others]
    parts: list[Part] = [Sentences(verdicts.curve_lines(differences, map(overfitting, study.arms)))]
    choices = {
        words: Charts(
            [_curve_chart(name, study, split, metric) for split in SPLITS
             if _has(study, f"{split}/{metric}")]
        )
        for metric, words in QUANTITIES.items()
    }  # fmt: skip
    parts.append(Choice("Quantity", {k: v for k, v in choices.items() if v.of}, smooth=True))
    if differences and all(one.epochs for one in differences):
        parts.append(
            Chart(
                f"{name}-difference", f"Validation mean IoU less that of {first.name}",
                "Mean over seeds with a pointwise 95 % band: it explores, and decides nothing.",
                curves.difference_figure(differences), by_arm=True,
            )
        )  # fmt: skip
    lead = (
        "Means over the seeds, a band of one standard deviation between seeds, single seeds as "
        "thin lines. Scores on augmented crops do not compare across augmentations; those on "
        "clean images do."
    )
    return Section("curves", "Learning curves", parts, lead)


def _has(study: StudyRuns, column: str) -> bool:
    rows = [row for arm in study.arms for s in arm.seeds for run in s.curves for row in run]
    return all(column in row for row in rows)


def _curve_chart(name: str, study: StudyRuns, split: str, metric: str) -> Chart:
    found = [
        (arm.name, [s.seed for s in arm.seeds if not s.diverged], curve(arm, f"{split}/{metric}"))
        for arm in study.arms
    ]
    title = QUANTITIES[metric]
    return Chart(
        f"{name}-curve-{split}-{metric}",
        f"{title[0].upper()}{title[1:]}, {SPLITS[split]}",
        "",
        curves.curve_figure(found, title),
        by_arm=True,
    )


def cost_section(name: str, study: StudyRuns) -> Section:
    """Quality against training time, latency and size, and who is on the Pareto front."""
    runtime = runtime_of(study)
    found = costs(study, runtime)
    words = (
        "95 % intervals in both directions; the dotted line is the Pareto front of the means. "
        "How sure a place on the front is, the table says."
    )
    parts: list[Part] = [
        Charts(
            [
                Chart(
                    f"{name}-cost-{cost_name}", f"Mean IoU against {cost_name}", words,
                    cost.front_figure(found, cost_name), by_arm=True,
                )
                for cost_name in cost.known_costs(found)
            ]
        ),
        grid(cost_report.cost_table(found, str(study.folders[0]), runtime), folded=False),
        grid(cost_report.front_table(found)),
        grid(cost_report.training_table(found, None)),
    ]  # fmt: skip
    if not all(one.benchmark for one in found):
        command = f"segbench benchmark {study.folders[0]}"
        parts.append(Missing(f"Latency and memory are not measured: run {command}"))
    return Section("cost", "Cost", parts)


def error_section(name: str, found: Errors, gallery: Gallery | None) -> Section:
    """What one arm gets wrong, and why."""
    parts: list[Part] = [Sentences([one.sentence for one in found.findings])]
    figures = [
        ("flow", "Confusion flow", "Where the missed pixels of each true class (row) went.",
         error_figures.flow_figure(found)),
        ("causes", "IoU lost by cause",
         "What each class would gain if that kind of error were corrected (after Bernhard et al., "
         "WACV 2024): geometry at borders and in extent, recognition in whole segments.",
         error_figures.cause_figure(found.classes)),
        ("frequency", "IoU against frequency", "Is a class good because it is common?",
         error_figures.frequency_figure(found.classes)),
        ("near", "Errors by distance to the border", "Of the pixels of each class.",
         error_figures.near_figure(found.classes)),
        ("bands", "Boundary IoU", "IoU within a band along the borders (Cheng et al., CVPR 2021).",
         error_figures.band_figure(found.classes)),
        ("objects", "Objects found by size", "Found: at least half of its pixels.",
         error_figures.object_figure(found.classes)),
        ("ceiling", "What the stride allows",
         "In crops around pixels of each class: what the network reached, and what a map of a "
         "stride reaches that is fitted to the truth itself.",
         error_figures.ceiling_figure(found)),
    ]  # fmt: skip
    parts.append(Charts([Chart(f"{name}-{key}", *rest) for key, *rest in figures], wide=True))
    parts += [
        grid(errors_report.flow_table(found)),
        grid(errors_report.class_table(found)),
        grid(errors_report.border_table(found)),
    ]
    if found.influences:
        parts.append(grid(errors_report.influence_table(found)))
    if gallery:
        parts.append(gallery)
    return Section(
        "errors", "What it gets wrong", parts, f"Of the arm {found.arm}: all of its seeds."
    )


def augmentation_section(name: str, study: StudyRuns, rules: Rules) -> Section:
    """Why augmentation helps or hurts.

    Raises:
        InputError: the study does not vary it.
    """
    found = explain(study, rules)
    lines = list(augmentation_report.diagnosis_lines(study, diagnose(found)))
    charts = [
        Chart(f"{name}-gaps", "Scores on clean and new images",
              "Tested checkpoints: training crops as augmented, training images as they are, "
              "validation, test.", causes.gap_figure(found.gaps)),
    ]  # fmt: skip
    if any(one.scale is not None for one in found.audits.values()):
        charts.append(
            Chart(f"{name}-scale", "Scale of objects in training crops",
                  "Median and 5 to 95 %; evaluation shows them at 1.",
                  causes.scale_figure(found.audits))
        )  # fmt: skip
    parts: list[Part] = [Sentences(lines), Charts(charts, wide=True)]
    parts += [grid(table) for table in augmentation_report.tables(study, found)]
    if not found.audits:
        command = f"segbench augmentation {study.folders[0]}"
        parts.append(Missing(f"The policies were not looked at: run {command}"))
    sheet = study.folders[0] / augmentation_report.SHEET
    if sheet.is_file():
        read_photo(sheet)  # whole?
        words = "Training crops through each arm's policy, each beside itself under its labels."
        parts.append(Picture("Contact sheet", as_data(sheet.read_bytes(), "jpeg"), words))
    return Section("augmentation", "Why augmentation helps or hurts", parts)


def aspp_section(name: str, study: StudyRuns, rules: Rules) -> Section:
    """Could ASPP help, and did it?

    Raises:
        InputError: no arm has any.
    """
    found = audit(study, rules)
    taps = Chart(
        f"{name}-taps", "What dilated taps see",
        "A tap that sees only padding in training is not trained.",
        causes.tap_figure(found.contexts),
    )  # fmt: skip
    parts: list[Part] = [Sentences(list(aspp_report.lines(found))), Charts([taps])]
    parts.append(grid(aspp_report.branch_table(found)))
    if found.comparisons:
        parts.append(grid(aspp_report.verdict_table(found)))
    if any(context.idle and context.zeroed is None for context in found.contexts):
        command = f"segbench aspp {study.folders[0]}"
        parts.append(Missing(f"The effect of untrained taps was not measured: run {command}"))
    return Section("aspp", "Could ASPP help?", parts)
