"""A study at W&B: its runs, a run with the verdicts, and the workspace that shows them."""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from segbench.analysis.compare import Contrast
from segbench.analysis.cost import ArmCost, costs, runtime_of
from segbench.analysis.questions import Rules
from segbench.analysis.study import StudyRuns
from segbench.errors import InputError
from segbench.files import as_json, write_atomic
from segbench.logged import logged_as
from segbench.reading import read_json, reading
from segbench.report.cost import cost_sentence
from segbench.report.figures.verdicts import forest_figure
from segbench.report.upload import QUIET, Project, StudyRun, upload
from segbench.report.verdicts import sentence, warnings_of
from segbench.report.workspace import COST_KEYS, COSTS, FOREST, VERDICTS, View, save_workspace
from segbench.runs import dotted, fingerprint
from segbench.study.plan import level_name
from segbench.study.wandb import SWEEP_FILE, read_sweep_file
from segbench.wording import counted

REMEMBERED = "wandb_workspace.json"
"""In the study's folder: the workspace that the next call updates."""


def publish(
    study: StudyRuns,
    rules: Rules,
    contrasts: Sequence[Contrast],
    entity: str | None,
    project: str | None,
) -> list[str]:
    """Bring a study to W&B and save its workspace.

    Args:
        study: the runs.
        rules: by which they were judged.
        contrasts: the verdicts.
        entity: whose project it goes to; by default that of its runs.
        project: its name; by default that of its runs.

    Returns:
        What was done, and the workspace's address.

    Raises:
        InputError: its runs were logged to several projects, or W&B refuses.
    """
    try:
        return _publish(study, rules, contrasts, _project(study, entity, project))
    except (wandb.Error, TimeoutError) as error:
        what = " ".join(str(error).split())
        raise InputError(
            f"segbench publish: W&B refuses, or answers no more ({what}); the same command goes on"
        ) from None


def _publish(
    study: StudyRuns, rules: Rules, contrasts: Sequence[Contrast], project: Project
) -> list[str]:
    folder = study.folders[0]
    name = folder.resolve().name
    keys = factor_keys(study)
    runs = _runs(study, name, keys)
    found = upload(project, name, runs)
    text = _text(study, contrasts)
    view = View(
        name,
        [*found, _log_comparison(project, name, study, rules, contrasts, text)],
        factors=list(keys.values()),
        group=next(iter(keys.values())) if len(keys) == 1 else "study.arm",
        costs=[cost for cost, key in COST_KEYS.items() if all(key in run.costs for run in runs)],
        text=text,
    )
    remembered = folder / REMEMBERED
    before = _address(remembered, project)
    url = save_workspace(project.entity, project.name, view, before)
    write_atomic(remembered, as_json({"url": url}))
    how = ", ".join(f"{number} {way}" for way, number in Counter(found.values()).items())
    return [
        f"{name}: {counted(len(runs), 'run')} in {project.path} ({how})",
        f"workspace {'updated' if url == before else 'saved'}: {url}",
    ]


def _address(remembered: Path, project: Project) -> str | None:
    """Of the workspace that was saved in this project before."""
    if not remembered.exists():
        return None
    again = "remove it, and a new workspace is saved"
    with reading(remembered, again):
        url = str(read_json(remembered, again)["url"])
    return url if f"/{project.path}?" in url else None


def _project(study: StudyRuns, entity: str | None, project: str | None) -> Project:
    known = [
        (logged.entity, logged.project)
        for arm in study.arms
        for seed in arm.seeds
        for run in seed.runs
        if (logged := logged_as(run))
    ]
    for sweep in (folder / SWEEP_FILE for folder in study.folders):
        if sweep.exists():
            of_sweep = read_sweep_file(sweep)["path"].split("/")
            known.append((of_sweep[0], of_sweep[1]))
    for what, given, place in (("entity", entity, 0), ("project", project, 1)):
        several = sorted({one[place] for one in known if one[place]})
        if len(several) > 1 and not given:
            raise InputError(
                f"{study.folders[0]}: its runs were logged to {' and '.join(several)}; choose "
                f"one with --{what}"
            )
    if project is None:
        project = next((one for _, one in known), os.environ.get("WANDB_PROJECT") or "segbench")
    if entity is None:
        entity = next((one for one, _ in known if one), os.environ.get("WANDB_ENTITY"))
    api = wandb.Api(timeout=30)
    return Project(str(entity or api.default_entity), project)


def factor_keys(study: StudyRuns) -> dict[str, str]:
    """Where the runs' configurations have each factor, dotted.

    A factor that is no key of theirs, such as the file of an arm, gets one under ``study``.
    """
    configs = [dotted(run.read_config()) for arm in study.arms for s in arm.seeds for run in s.runs]
    return {
        factor: factor
        if all(factor in config for config in configs)
        else f"study.{factor.rsplit('.', 1)[-1]}"
        for factor in study.factors
    }


def _runs(study: StudyRuns, name: str, keys: Mapping[str, str]) -> list[StudyRun]:
    found = []
    runtime = runtime_of(study)
    for arm in study.arms:
        levels = {
            key.removeprefix("study."): level_name(factor, arm.levels[factor])
            for factor, key in keys.items()
            if key.startswith("study.")
        }
        measured = (arm.benchmark or {"runtimes": {}})["runtimes"].get(runtime)
        latency = {COST_KEYS["latency"]: float(measured["latency_ms"])} if measured else {}
        for seed in arm.seeds:
            place = {"name": name, "arm": arm.name, "seed": seed.seed} | levels
            for run, record, rows in zip(seed.runs, seed.records, seed.curves, strict=True):
                spent = {
                    COST_KEYS["training"]: float(rows[-1]["seconds"]),
                    COST_KEYS["size"]: float(record["size_mb"]),
                }
                found.append(StudyRun(run, rows, place, spent | latency))
    return found


def _text(study: StudyRuns, contrasts: Sequence[Contrast]) -> str:
    """What ``segbench compare`` says, as Markdown."""
    lines = []
    for contrast in contrasts:
        lines.append(sentence(contrast, study))
        paid = cost_sentence(contrast, study)
        lines += [paid] if paid else []
    lines += [f"Warning: {warning}" for warning in warnings_of(study, contrasts)]
    return "\n".join(f"- {line}" for line in lines)


def _log_comparison(
    project: Project,
    name: str,
    study: StudyRuns,
    rules: Rules,
    contrasts: Sequence[Contrast],
    text: str,
) -> str:
    """Log the verdicts, their figure and the costs as one run, the same in every call; its ID."""
    record = study.arms[0].seeds[0].records[0]
    judged = study.plan.hash if study.plan else record["fingerprints"]["data"]
    identity = fingerprint([name, judged])[:16]
    logged: dict[str, Any] = {
        VERDICTS: _table([contrast.as_json() for contrast in contrasts]),
        FOREST: wandb.Plotly(forest_figure(contrasts)),
    }
    if any(len(arm.counts()) for arm in study.arms):  # else all diverged
        runtime = runtime_of(study)
        logged[COSTS] = _table([_cost_row(one, runtime) for one in costs(study, runtime)])
    with (
        tempfile.TemporaryDirectory() as scratch,
        wandb.init(
            entity=project.entity,
            project=project.name,
            id=identity,
            resume="allow",
            name=f"{name}: verdicts",
            group=name,
            job_type="comparison",
            notes=text,
            config={"study": {"name": name, "post_hoc": list(rules.post_hoc)}},
            dir=scratch,
            settings=QUIET,
        ) as run,
    ):
        run.log(logged)
    return identity


def _cost_row(one: ArmCost, runtime: str) -> dict[str, Any]:
    """Flat; each cost with the ends of its 95 % interval, and the latency's runtime."""
    row: dict[str, Any] = {"arm": one.arm, "parameters": one.parameters, "runtime": runtime}
    for name, values in {"mean_iou": one.mean_iou, **one.values}.items():
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
    return row | {f"on_front_{name}": share for name, share in one.on_front.items()}


def _table(rows: Sequence[Mapping[str, Any]]) -> wandb.Table:
    """Rows that share their keys, as ``--json`` would write them."""
    plain: list[dict[str, Any]] = json.loads(as_json(list(rows)))
    return wandb.Table(
        columns=list(plain[0]), data=[list(row.values()) for row in plain], allow_mixed_types=True
    )
