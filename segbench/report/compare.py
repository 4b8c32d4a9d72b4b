"""``segbench compare STUDY``: does it help, and how sure are we?"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from segbench.analysis.compare import Contrast, compare, per_class
from segbench.analysis.curves import difference, fluctuation, overfitting
from segbench.analysis.questions import SCORES, rules_of
from segbench.analysis.study import StudyRuns, read_study
from segbench.arguments import Arguments, output_file, tables_console
from segbench.files import as_json, write_atomic
from segbench.report import verdicts
from segbench.report.cost import cost_sentence


def main(argv: list[str]) -> None:
    """Print the verdicts of a study: differences with intervals, and what is still needed.

    Margin, alpha, pairing, estimand and metric are the plan's; given here, they are post hoc and
    the verdicts say so.
    """
    options = _options(argv)
    study = read_study(options.study)
    asked = {key: getattr(options, key) for key in ("margin", "alpha", "estimand", "metric")}
    rules = rules_of(study, asked | {"paired": options.paired or None})
    contrasts = compare(study, rules)
    console = tables_console()
    for warning in verdicts.warnings_of(study, contrasts):
        console.print(f"warning: {warning}", style="yellow", markup=False)
    for contrast in contrasts:
        console.print(verdicts.sentence(contrast, study), markup=False)
        paid = cost_sentence(contrast, study)
        if paid:
            console.print(paid, markup=False)
    if rules.contrasts == "all_pairs":
        console.print(verdicts.best_line(study, rules, contrasts), markup=False)
    console.print(verdicts.verdict_table(study, rules, contrasts))
    console.print(verdicts.arm_table(study, map(partial(fluctuation, study), study.arms)))
    if of_classes := per_class(study, rules):
        console.print(verdicts.class_table(study, of_classes))
    if len(study.arms) > 1:
        console.print(verdicts.convention_table(study))
    _print_curves(console, study)
    _write(options, contrasts)


def _print_curves(console: Console, study: StudyRuns) -> None:
    first, *others = study.arms
    differences = [difference(first, arm) for arm in others]
    for line in verdicts.curve_lines(differences, map(overfitting, study.arms)):
        console.print(line, markup=False)


def _write(options: argparse.Namespace, contrasts: list[Contrast]) -> None:
    rows: list[dict[str, Any]] = [contrast.as_json() for contrast in contrasts]
    texts: dict[str, Callable[[], str]] = {
        "json": lambda: as_json(rows),
        "csv": lambda: verdicts.as_csv(contrasts),
        "markdown": lambda: verdicts.as_markdown(contrasts),
    }
    for kind, text in texts.items():
        if path := getattr(options, kind):
            write_atomic(path, text())


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("segbench compare", main.__doc__)
    parser.add_argument("study", type=Path, nargs="+", help="a study's folder, or several of one")
    parser.add_argument("--margin", type=float, help="the smallest difference that matters")
    parser.add_argument("--alpha", type=float, help="the share of false differences to live with")
    parser.add_argument("--metric", choices=list(SCORES), help="what to compare")
    parser.add_argument(
        "--estimand",
        choices=("method", "test_set", "checkpoints"),
        help="speak of new seeds and images (method), of these images, or of these checkpoints",
    )
    parser.add_argument(
        "--paired", action="store_true", help="a seed means the same draw in every arm"
    )
    for kind in ("json", "csv", "markdown"):
        parser.add_argument(
            f"--{kind}", type=output_file, metavar="FILE", help=f"write them as {kind}"
        )
    return parser.parse_args(argv)
