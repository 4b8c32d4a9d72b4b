"""``segbench sweep`` and ``segbench pull``."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from segbench.arguments import Arguments
from segbench.errors import InputError
from segbench.online import need_wandb_server, wandb_server
from segbench.study.cells import StudyCells, check_folder
from segbench.study.local import places, run_local
from segbench.study.locks import engine_at
from segbench.study.outlook import outlook
from segbench.study.plan import Plan
from segbench.study.planning import plan_study, settled_plan, tested_by
from segbench.study.progress import StudyProgress
from segbench.study.spec import Sweep, as_text, read_sweep, read_value

UNDOTTED = ("config", "seed_everything", "wandb", "test", "keep_freed_memory")
"""Keys of a configuration without a dot: any other such word is taken for a mistyped option."""

ENGINES = ("auto", "local", "wandb", "ray")


def sweep(argv: list[str]) -> None:
    """Run what is missing of a study: its plan is written first, then its cells run.

    The same command goes on where an earlier one was stopped, however it was. Further arguments
    ``--KEY VALUE`` fix a key for all cells, for example ``--data.root my_data``.
    """
    options, constants = _sweep_options(argv)
    read = read_sweep(options.file, constants, options.seeds, options.folds)
    folder = options.out or Path("runs") / read.name
    check_folder(folder)
    wanted = plan_study(read, folder, tested_by(read))
    if options.dry_run:
        runs = StudyCells.of(settled_plan(wanted, options.extend))
        for cell in runs.missing():
            print(as_text(read.command(cell, runs.folders[cell.name].path)))
        print(outlook(runs), file=sys.stderr)
        return
    _check_engine(options, read)
    with engine_at(folder, partial(settled_plan, wanted, options.extend)) as plan:
        _run_what_is_missing(plan, read, options)


def _run_what_is_missing(plan: Plan, read: Sweep, options: argparse.Namespace) -> None:
    runs, folder = StudyCells.of(plan), plan.folder
    if len(plan.cells) > len(read.cells()):
        print(f"{folder}: its plan has {len(plan.cells)} runs, more than asked for now: all count")
    for extension in plan.content["extensions"][-1:]:
        print(f"{folder}: extended with {len(extension['cells'])} runs: {extension['kind']}")
    if not runs.missing():
        print(f"{folder}: all {len(plan.cells)} runs of its plan are there; nothing to do")
        return
    progress = _run(_engine(options.engine, read), runs, read, options)
    runs = StudyCells.of(plan)
    progress.report_failures()
    complete = len(plan.cells) - len(runs.missing())
    print(f"{folder}: {complete} of {len(plan.cells)} runs are there")
    if complete < len(plan.cells):
        sys.exit(1)
    print(_what_next(runs))


def _run(engine: str, runs: StudyCells, read: Sweep, options: argparse.Namespace) -> StudyProgress:
    slots = places(options.workers)
    try:
        match engine:
            case "wandb":
                from segbench.study.wandb import run_wandb

                return run_wandb(runs, read, slots, options.keep_going)
            case "ray":
                from segbench.study.ray import run_ray

                return run_ray(runs, read, options.address, options.workers, options.keep_going)
        return run_local(runs, read, slots, options.keep_going)
    except KeyboardInterrupt:
        print(
            f"stopped with {len(runs.missing())} of {len(runs.plan.cells)} runs missing; the same "
            "command goes on",
            file=sys.stderr,
        )
        raise


def pull(argv: list[str]) -> None:
    """Bring home the run folders, without checkpoints, of a W&B sweep that agents ran elsewhere."""
    parser = Arguments("segbench pull", pull.__doc__)
    parser.add_argument("sweep", help="ENTITY/PROJECT/ID, as W&B prints it")
    parser.add_argument("--out", type=Path, help="the study's folder (runs/ID)")
    options = parser.parse_args(argv)
    from segbench.study.wandb import pull_sweep

    folder = options.out or Path("runs") / options.sweep.rsplit("/", 1)[-1]
    fetched, there = pull_sweep(options.sweep, folder)
    print(f"{folder}: {fetched} runs fetched, {there} were there already")


def _check_engine(options: argparse.Namespace, read: Sweep) -> None:
    """Refuse an engine that cannot run the study before anything is written."""
    if options.engine == "wandb":
        need_wandb_server("--engine wandb")
        if read.random:
            raise InputError(
                f"{read.path}: method: random: W&B's server would draw other values than the plan "
                "has; use --engine local or ray, or wandb sweep and wandb agent by hand"
            )


def _engine(wanted: str, read: Sweep) -> str:
    if wanted != "auto":
        return wanted
    if not read.random and wandb_server() is not None:
        return "wandb"
    if not read.random:
        print(
            "no W&B key at hand, or no network: the study runs here (--engine local)",
            file=sys.stderr,
        )
    return "local"


def _sweep_options(argv: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    parser = Arguments("segbench sweep", sweep.__doc__)
    parser.add_argument(
        "file", type=Path, help="a sweep file in W&B's schema, e.g. sweeps/aug.yaml"
    )
    parser.add_argument("--out", type=Path, help="the study's folder (runs/<name of the sweep>)")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="local: here; wandb: W&B agents, others may join; ray: a Ray cluster; auto: wandb "
        "where a key is at hand, else local (default)",
    )
    parser.add_argument("--workers", type=int, help="cells at a time (one per GPU, or one)")
    parser.add_argument("--seeds", type=int, help="seeds 0 .. N-1 in place of the file's")
    parser.add_argument(
        "--folds", type=int, help="test on every image in turn, in this many folds by group"
    )
    parser.add_argument("--address", help="of the Ray cluster, with --engine ray (one of its own)")
    parser.add_argument(
        "--extend",
        action="store_true",
        help="add seeds or arms to a study that has begun: a declared look, or exploratory",
    )
    parser.add_argument(
        "--keep-going",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let the others run when a cell fails",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the commands, and what the plan can see"
    )
    options, rest = parser.parse_known_args(argv)
    for name, least in (("workers", 1), ("seeds", 1), ("folds", 2)):
        number = getattr(options, name)
        if number is not None and number < least:
            raise InputError(f"--{name}: {number}; give {least} or more")
    if options.address and options.engine != "ray":
        raise InputError("--address: is for --engine ray")
    return options, _constants(rest)


def _constants(words: list[str]) -> dict[str, Any]:
    """Keys fixed for all cells: ``--KEY VALUE`` or ``--KEY=VALUE``, values as YAML."""
    constants: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        key, equals, value = word.partition("=")
        if not key.startswith("--"):
            raise InputError(f"{word}: not understood; keys are given as --KEY VALUE")
        if not equals:
            value = next(rest, "")
        if value == "":
            raise InputError(f"{key}: has no value")
        key = key.removeprefix("--")
        if "." not in key and key not in UNDOTTED:
            raise InputError(f"--{key}: no such option; segbench sweep --help lists them")
        constants[key] = read_value(value)
    return constants


def _what_next(runs: StudyCells) -> str:
    if runs.plan.content["method"] != "random":
        return f"its runs: segbench runs {runs.plan.folder}"
    found = []
    for cell in runs.plan.cells:
        scores = runs.folders[cell.name].read_record().get("scores", {})
        found.append((scores.get("val", {}).get("mean_iou") or 0.0, cell))
    lines = [
        f"  val {score:.3f}  " + " ".join(f"{key}={value}" for key, value in cell.arm.items())
        for score, cell in sorted(found, key=lambda one: -one[0])
    ]
    return "\n".join(["by mean IoU on val, best first:", *lines])
