"""``segbench publish STUDY``: the comparison as a saved W&B workspace."""

import argparse
import os
from pathlib import Path

from segbench.analysis.compare import compare
from segbench.analysis.questions import rules_of
from segbench.analysis.study import read_study
from segbench.arguments import Arguments
from segbench.online import need_wandb_server

FINISH_TIMEOUT = "120"  # seconds that a run may take to go up


def main(argv: list[str]) -> None:
    """Show a study at W&B: its curves, costs, predictions and verdicts as a saved workspace.

    Runs that were logged offline are synced, and those that never were are logged from their
    folders. A second call finds what is there already, and updates the same workspace.
    """
    options = _options(argv)
    study = read_study(options.study)
    rules = rules_of(study, {})
    contrasts = compare(study, rules)
    need_wandb_server("segbench publish")
    os.environ.setdefault("WANDB_SILENT", "true")
    # by default a run would wait for ever, at its end, for a server that is gone
    os.environ.setdefault("WANDB_FINISH_TIMEOUT", FINISH_TIMEOUT)
    from segbench.report.publication import publish

    for line in publish(study, rules, contrasts, options.entity, options.project):
        print(line)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("segbench publish", main.__doc__)
    parser.add_argument("study", type=Path, nargs="+", help="a study's folder, or several of one")
    parser.add_argument(
        "--project", help="at W&B (that of its runs, else WANDB_PROJECT, else segbench)"
    )
    parser.add_argument(
        "--entity", help="user or team (that of its runs, else WANDB_ENTITY, else yours)"
    )
    return parser.parse_args(argv)
