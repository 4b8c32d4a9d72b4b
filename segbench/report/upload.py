"""The runs of a study at W&B, each once: synced, or logged from its folder.

What the server has decides what is uploaded, not marks on this machine: a second call finds all
of it there, and so does one from another copy of the study.
"""

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from PIL import Image

from segbench.analysis.pixels import read_ids
from segbench.logged import logged_as
from segbench.overlays import EXAMPLES, PANELS, Example, overlays
from segbench.pictures import read_photo
from segbench.runs import RunFolder, fingerprint
from segbench.wording import counted

ARRIVAL = 30.0  # seconds that a server may take to show what was synced
LOOK = 2.0  # seconds between two looks whether it does

QUIET = wandb.Settings(
    console="off",
    save_code=False,
    x_disable_stats=True,
    silent=True,
    init_timeout=30,
    finish_timeout_raises=True,
)
"""For runs that only bring what was computed elsewhere."""


@dataclass(frozen=True)
class Project:
    """Where runs go at W&B."""

    entity: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.entity}/{self.name}"


@dataclass(frozen=True)
class StudyRun:
    """A run of a study, with what the study adds to it at W&B.

    Args:
        folder: its run folder.
        curves: the rows of its metrics.csv.
        study: its place in the study, kept under ``study`` in its configuration.
        costs: what it cost, kept in its summary.
    """

    folder: RunFolder
    curves: Sequence[Mapping[str, float]]
    study: Mapping[str, Any]
    costs: Mapping[str, float]

    @property
    def identities(self) -> list[str]:
        """Its possible IDs at W&B: as it was logged, and by its content, the same in any copy."""
        known = logged_as(self.folder)
        own = fingerprint(self.folder.read_record())[:16]
        return [known.identity, own] if known else [own]

    def is_whole(self, summary: Mapping[str, Any]) -> bool:
        """Whether a summary is that of the last epoch."""
        last, shown = self.curves[-1]["val/mean_iou"], summary.get("val/mean_iou")
        return shown is not None and (math.isnan(last) or math.isclose(float(shown), last))


def upload(project: Project, group: str, runs: Sequence[StudyRun]) -> dict[str, str]:
    """See to it that all runs are at W&B, and know their place in the study.

    Args:
        project: where to.
        group: name of the group that new runs belong to.
        runs: of the study.

    Returns:
        The ID of each run with how it came there.

    Raises:
        wandb.Error: the server refuses.
        TimeoutError: it answers no more.
    """
    api = wandb.Api(timeout=30)
    there = _find(api, project, runs)
    came = dict.fromkeys(there, "there already")
    missing = [run for run in runs if run.folder.path not in there]
    kept = [folder for run in missing if (folder := _kept_by_client(run))]
    if kept:
        print(f"syncing {counted(len(kept), 'run')} that W&B's client kept", file=sys.stderr)
        _sync(project, kept)
        there = _arrived(api, project, runs, len(there) + len(kept))
    for path in there:
        came.setdefault(path, "synced")
    found: dict[str, str] = {}
    for run in runs:
        path = run.folder.path
        if path in there:
            _complete(there[path], run)
            found[there[path].id] = came[path]
        else:
            print(f"{path}: logged from its folder", file=sys.stderr)
            found[_log(project, group, run)] = "logged from run folders"
    return found


def _find(api: wandb.Api, project: Project, runs: Iterable[StudyRun]) -> dict[Path, Any]:
    """The runs that are whole at W&B, by run folder."""
    wanted = [identity for run in runs for identity in run.identities]
    api.flush()  # type: ignore[no-untyped-call]
    try:
        listed = api.runs(project.path, {"name": {"$in": wanted}}, lazy=False)
        known = {run.id: run for run in listed}
    except ValueError:  # no such project yet
        return {}
    found = {}
    for run in runs:
        for identity in run.identities:
            if identity in known and run.is_whole(known[identity].summary):
                found[run.folder.path] = known[identity]
                break
    return found


def _kept_by_client(run: StudyRun) -> Path | None:
    """The newest folder that W&B's client wrote of a run; offline it holds all earlier epochs."""
    known = logged_as(run.folder)
    if known is None:
        return None
    kept = (run.folder.path / "wandb").glob(f"*run-*-{known.identity}/run-*.wandb")
    return max((file.parent for file in kept), key=lambda path: path.name.split("run-")[1],
               default=None)  # fmt: skip


def _sync(project: Project, folders: Iterable[Path]) -> None:
    """Upload what the client kept; what fails is missing at the server afterwards."""
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", "--include-synced"]
    command += ["--entity", project.entity, "--project", project.name]
    paths = [str(folder.resolve()) for folder in folders]
    with tempfile.TemporaryDirectory() as scratch:  # the client writes where it runs
        subprocess.run([*command, *paths], cwd=scratch, capture_output=True, check=False)


def _arrived(
    api: wandb.Api, project: Project, runs: Sequence[StudyRun], wanted: int
) -> dict[Path, Any]:
    until = time.monotonic() + ARRIVAL
    while len(found := _find(api, project, runs)) < wanted and time.monotonic() < until:
        time.sleep(LOOK)
    return found


def _complete(there: Any, run: StudyRun) -> None:
    """Tell a run at W&B its place in the study and its costs, unless it knows them."""
    known = {key: there.summary.get(key) for key in run.costs}
    if there.config.get("study") != run.study or known != run.costs:
        there.config["study"] = dict(run.study)
        there.summary.update(run.costs)
        there.update()


def _log(project: Project, group: str, run: StudyRun) -> str:
    """Log a run from its folder; half of one that was cut off is completed."""
    record = run.folder.read_record()
    test = record["scores"].get("test", {})
    scores = {f"test/{name}": value for name, value in test.items() if value is not None}
    *_, identity = run.identities
    with (
        tempfile.TemporaryDirectory() as scratch,
        wandb.init(
            entity=project.entity,
            project=project.name,
            id=identity,
            resume="allow",
            name=run.folder.path.name,
            group=group,
            config=run.folder.read_config() | {"study": dict(run.study)},
            dir=scratch,
            settings=QUIET,
        ) as logged,
    ):
        *earlier, last = run.curves
        for row in earlier:
            logged.log(dict(row), step=int(row["epoch"]))
        pictures = _pictures(run.folder, record)
        shown = {EXAMPLES: pictures} if pictures else {}
        logged.log({**last, **shown}, step=int(last["epoch"]))
        logged.summary.update(scores | dict(run.costs))
    return identity


def _pictures(run: RunFolder, record: Mapping[str, Any]) -> list[wandb.Image]:
    """Predictions of the first test images, for which the study keeps image and truth."""
    found: list[Example] = []
    for name in run.read_counts().images:
        paths = {
            "prediction": run.test / "predictions" / f"{name}.png",
            "truth": run.study_test / "truth" / f"{name}.png",
        }
        image = run.study_test / "image" / f"{name}.jpg"
        if len(found) < PANELS and all(path.exists() for path in (image, *paths.values())):
            masks = {kind: read_ids(path) for kind, path in paths.items()}
            height, width = masks["truth"].shape
            # it may have been kept at a smaller size
            stored = Image.fromarray(read_photo(image)).resize((width, height))
            pixels = np.asarray(stored)
            found.append(Example(pixels, masks, f"test: {name}"))
    labels = {one["id"]: one["name"] for one in record["classes"]}
    return overlays(found, labels) if found else []
