"""What a chapter rests on, and how to have it again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import join, quote
from typing import Any

from rich.markup import escape
from rich.table import Table

from segbench.report.page.content import Commands, Part, Section, Swatches, grid
from segbench.report.page.pictures import css
from segbench.report.runs_table import runs_table
from segbench.runs import RunFolder
from segbench.study.plan import Plan
from segbench.study.spec import FOLD, SEED
from segbench.wording import counted

Record = Mapping[str, Any]


def provenance_section(
    folders: Sequence[Path], plan: Plan | None, runs: Sequence[RunFolder]
) -> Section:
    """Data, plan and its hash, versions, hardware, commits, runs, and the commands."""
    records = [run.read_record() for run in runs]
    facts = Table(title="What this rests on")
    facts.add_column("what")
    facts.add_column("value", overflow="fold")
    for what, value in (*_of_plan(folders, plan), *_of_runs(records)):
        facts.add_row(what, escape(value))
    parts: list[Part] = [grid(facts, folded=False)]
    for record in records[:1]:
        parts.append(Swatches([(one["name"], css(one["color"])) for one in record["classes"]]))
    parts += [
        grid(runs_table(folder, own))
        for folder in folders
        if (own := [run for run in runs if folder in (run.path, run.path.parent)])
    ]
    parts.append(Commands(list(_commands(folders, plan, runs))))
    return Section("provenance", "Provenance", parts)


def _of_plan(folders: Sequence[Path], plan: Plan | None) -> Iterator[tuple[str, str]]:
    yield "study", ", ".join(map(str, folders))
    if plan is None:
        yield "plan", "none: runs made by hand"
        return
    content, rules, data = plan.content, plan.content["plan"], plan.content["data"]
    yield "plan", f"{content['sweep']}, {content['created']}, made {rules['made']}"
    yield "plan's hash", plan.hash
    yield "arms", "; ".join(f"{key}: {', '.join(map(str, v))}" for key, v in plan.factors.items())
    yield (
        "seeds",
        ", ".join(map(str, rules["seeds"]))
        + (f"; looks at {', '.join(map(str, rules['looks']))} per arm" if rules["looks"] else ""),
    )
    yield (
        "rules",
        (
            f"{rules['metric']}, margin {rules['margin']}, alpha {rules['alpha']}, estimand "
            f"{rules['estimand']}, {'paired' if rules['paired'] else 'unpaired'} seeds"
        ),
    )
    for extension in content["extensions"]:
        yield "extended", f"{extension['kind']}, hash {extension['hash']}"
    yield "data", f"{data['root']}, fingerprint {data['fingerprint']}"
    yield "tested on", f"{counted(data['images'], 'image')} in {counted(data['groups'], 'group')}"
    yield "classes", ", ".join(data["classes"])


def _of_runs(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """What the runs say of themselves; more than one value where they differ."""
    statuses = [record["status"] for record in records]
    yield "runs", ", ".join(f"{statuses.count(s)} {s}" for s in dict.fromkeys(statuses)) or "none"
    yield "commits", _distinct(str(record.get("git_commit") or "unknown") for record in records)
    yield (
        "versions",
        _distinct(
            ", ".join(f"{name} {v}" for name, v in record.get("versions", {}).items())
            for record in records
        ),
    )
    yield (
        "hardware",
        _distinct(
            ", ".join(f"{k} {v}" for k, v in record.get("hardware", {}).items())
            for record in records
        ),
    )


def _distinct(values: Iterator[str]) -> str:
    return "; ".join(value for value in dict.fromkeys(values) if value)


def _commands(
    folders: Sequence[Path], plan: Plan | None, runs: Sequence[RunFolder]
) -> Iterator[str]:
    where = " ".join(quote(str(folder)) for folder in folders)
    if plan is not None:
        sweep, out = str(plan.content["sweep"]), quote(str(folders[0]))
        pulled = plan.content["plan"]["made"] == "after the runs"
        words = ["pull", sweep] if pulled else ["sweep", sweep, *_given(plan)]
        yield f"segbench {join(words)} --out {out}"
    yield f"segbench compare {where}"
    yield f"segbench report {where}"
    if runs:
        yield f"segbench fit --config {quote(str(runs[0].config))}  # one run again"


def _given(plan: Plan) -> list[str]:
    """The options of ``segbench sweep`` that make the plan's parameters from its file again."""
    parameters = dict(plan.content["parameters"])
    words = []
    if _counts_up(seeds := parameters[SEED].get("values")):
        words += ["--seeds", str(len(seeds))]
    if _counts_up(folds := parameters.get(FOLD, {}).get("values")) and "data.folds" in parameters:
        words += ["--folds", str(len(folds))]
        del parameters["data.folds"]
    for key, given in parameters.items():
        if "value" in given:
            value = given["value"]
            words += [f"--{key}", value if isinstance(value, str) else json.dumps(value)]
    return words


def _counts_up(values: list[Any] | None) -> bool:
    """Whether they are 0, 1, 2, ... as --seeds and --folds give them."""
    return values is not None and values == list(range(len(values)))
