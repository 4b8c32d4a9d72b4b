"""The W&B engine: a sweep on the server, agents here, and others wherever people start them.

The run folders stay the truth. What the server handed out and lost, because an agent died, is run
by the local engine as a member of the same sweep.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from segbench.claim import Claim
from segbench.errors import InputError
from segbench.files import write_atomic
from segbench.logged import (
    ARTIFACT_OF_RUN,
    ARTIFACT_OF_TEST_SET,
    STUDY,
    SWEEP,
    VARIES,
    remember_run,
)
from segbench.online import need_wandb_server, wandb_server
from segbench.reading import check_shape, read_json
from segbench.runs import RunFolder
from segbench.shapes import WANDB_SWEEP
from segbench.study.cells import LOGS, STATES, StudyCells
from segbench.study.leash import PARENT
from segbench.study.local import run_local, sigterm_is_ctrl_c
from segbench.study.locks import alone_at
from segbench.study.plan import Plan, has
from segbench.study.planning import plan_study, tested_in
from segbench.study.progress import StudyProgress
from segbench.study.spec import Cell, Sweep, check_sweep

SWEEP_FILE = "wandb_sweep.json"
LOOK = 1.0  # seconds between two looks at the agents
LOOK_AT_SERVER = 10.0  # seconds between two questions whether others have finished
ASK_SERVER = 20.0  # seconds between two questions whether the server is still there
PATIENCE = 40.0  # seconds: W&B's agent gives its run 30 to end


def run_wandb(
    runs: StudyCells, sweep: Sweep, slots: list[dict[str, str]], keep_going: bool
) -> StudyProgress:
    """Run what is missing of a study as a W&B sweep, one agent per slot.

    Raises:
        InputError: W&B refuses the sweep.
        KeyboardInterrupt: stopped; the agents' runs have saved where they are.
    """
    folder = runs.plan.folder
    with alone_at(folder):
        path = _sweep_on_server(runs.plan, sweep)
    given = _states_on_server(path)
    unassigned = [cell for cell in runs.missing() if _state_of(cell, given) is None]
    if unassigned:
        _run_agents(runs, path, slots[: len(unassigned)], sweep)
    entity, project, identity = path.split("/")
    member = {"WANDB_ENTITY": entity, "WANDB_PROJECT": project, SWEEP: identity}
    try:
        _wait_for_others(runs.plan, path)
        pull_sweep(path, folder)
    except InputError as error:
        print(f"{error}; what is missing runs here", file=sys.stderr)
    runs = StudyCells.of(runs.plan)
    return run_local(runs, sweep, [slot | member for slot in slots], keep_going)


def _wait_for_others(plan: Plan, path: str) -> None:
    """Let agents elsewhere finish the cells that they are at."""
    said = False
    with sigterm_is_ctrl_c():
        while _elsewhere(StudyCells.of(plan), _states_on_server(path)):
            if not said:
                print("waiting for runs of agents elsewhere", file=sys.stderr)
            said = True
            time.sleep(LOOK_AT_SERVER)


def pull_sweep(path: str, folder: Path) -> tuple[int, int]:
    """Fetch the run folders of a sweep's finished runs, and its plan where there is none.

    Returns:
        How many were fetched, and how many were there already.

    Raises:
        InputError: no key, no answer, no such sweep.
    """
    need_wandb_server("segbench pull")
    sweep = _sweep(path)
    fetched = there = 0
    folder.mkdir(parents=True, exist_ok=True)
    for run in sweep.runs:
        for artifact in run.logged_artifacts():
            if artifact.type == ARTIFACT_OF_RUN:
                target = folder / _plain(str(artifact.metadata["folder"]), path)
                if _complete(target):
                    there += 1
                else:
                    _fetch(artifact, target)
                    remember_run(RunFolder(target), "/".join(run.path))
                    fetched += 1
            elif artifact.type == ARTIFACT_OF_TEST_SET and not (folder / "test" / "data").exists():
                _fetch(artifact, folder / "test")
    content = _content(sweep.config)
    # what a server drew at random only its runs know
    if (fetched or there) and content["method"] == "grid" and not (folder / "study.yaml").exists():
        check_sweep(Path(path), content)
        plan_study(Sweep(Path(path), content), folder, tested_in(folder), after=True).write()
    return fetched, there


def _plain(name: str, path: str) -> str:
    """A folder's name as a server gives it: a name, and no way to other places."""
    if Path(name).name != name or name.startswith(".") or name in ("", "test", LOGS):
        raise InputError(f"{path}: one of its runs says it lies in {name!r}; it is not fetched")
    return name


def _complete(target: Path) -> bool:
    run = RunFolder(target)
    return run.record.exists() and STATES[run.read_record()["status"]].complete


def _fetch(artifact: Any, target: Path) -> None:
    """Download beside the target, then take its place: a folder is whole or not there."""
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=target.parent) as part:
        got = Path(part) / "content"
        artifact.download(root=str(got), skip_cache=True)
        claim = Claim.on(target)
        if claim is None:
            raise InputError(f"{target}: another process is writing this run; pull again later")
        with claim:  # an unfinished run of the same cell gives way
            target.rename(Path(part) / "before")
            got.rename(target)


def read_sweep_file(path: Path) -> dict[str, Any]:
    """Which sweep of W&B's a study is: path and plan, as :class:`segbench.shapes.WandbSweep`."""
    anew = "remove it, and the study gets a new sweep"
    content: dict[str, Any] = read_json(path, anew)
    check_shape(content, WANDB_SWEEP, path, anew)
    return content


def _sweep_on_server(plan: Plan, sweep: Sweep) -> str:
    """ENTITY/PROJECT/ID of the study's sweep, created once for a plan and each extension of it."""
    import wandb

    remembered = plan.folder / SWEEP_FILE
    of_plan = [plan.hash, *(extension["hash"] for extension in plan.content["extensions"])]
    if remembered.exists():
        known = read_sweep_file(remembered)
        if known["plan"] == of_plan:
            return str(known["path"])
    content = {key: value for key, value in sweep.content.items() if key != "plan"}
    project = os.environ.get("WANDB_PROJECT") or str(content.get("project", "segbench"))
    try:
        api = wandb.Api(timeout=30)
        entity = os.environ.get("WANDB_ENTITY") or content.get("entity") or api.default_entity
        identity = wandb.sweep(content, entity=entity, project=project)
    except (wandb.Error, ValueError) as error:
        raise InputError(f"{sweep.path}: W&B refuses the sweep: {_one_line(error)}") from None
    path = f"{entity}/{project}/{identity}"
    write_atomic(remembered, json.dumps({"path": path, "plan": of_plan}) + "\n")
    print(f"agents on other machines join with: wandb agent {path}", file=sys.stderr)
    return path


def _run_agents(runs: StudyCells, path: str, slots: list[dict[str, str]], sweep: Sweep) -> None:
    logs = runs.plan.folder / LOGS
    logs.mkdir(exist_ok=True)
    here = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    # the agents' runs fail or not for themselves: none of them stops an agent
    here |= {"WANDB_AGENT_DISABLE_FLAPPING": "true", "WANDB_AGENT_MAX_INITIAL_FAILURES": "1000000"}
    here |= {STUDY: str(runs.plan.folder.resolve()), VARIES: ",".join(sweep.varied)}
    here |= {PARENT: str(os.getpid())}
    command = [sys.executable, "-m", "segbench.study.leash", sys.executable, "-m", "wandb"]
    command += ["agent", "--forward-signals", path]
    agents = []
    for number, slot in enumerate(slots):
        with (logs / f"agent-{number}.txt").open("ab") as out:
            agents.append(
                subprocess.Popen(
                    command,
                    env=os.environ | here | slot,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
    asked = time.monotonic()
    try:
        with StudyProgress(runs, len(slots)) as progress, sigterm_is_ctrl_c():
            while any(agent.poll() is None for agent in agents):
                progress.watch(StudyCells.of(runs.plan))
                time.sleep(LOOK)
                if time.monotonic() - asked > ASK_SERVER and not progress.running:
                    asked = time.monotonic()
                    if wandb_server() is None:  # an agent would wait for it for ever
                        print("W&B does not answer any more", file=sys.stderr)
                        break
            progress.watch(StudyCells.of(runs.plan))
    finally:
        for agent in agents:
            agent.terminate()
        for agent in agents:
            try:
                agent.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                agent.kill()


def _elsewhere(runs: StudyCells, given: list[tuple[dict[str, Any], str]]) -> bool:
    """Whether agents elsewhere are still at cells of which nothing is here."""
    return any(
        _state_of(cell, given) == "running" and not runs.folders[cell.name].path.exists()
        for cell in runs.missing()
    )


def _states_on_server(path: str) -> list[tuple[dict[str, Any], str]]:
    return [(dict(run.config), str(run.state)) for run in _sweep(path).runs]


def _state_of(cell: Cell, given: list[tuple[dict[str, Any], str]]) -> str | None:
    for config, state in given:
        stands = {key: value for key, value in config.items() if key in cell.args}
        if has(stands, {**cell.args}):
            return state
    return None


def _sweep(path: str) -> Any:
    import wandb

    try:
        return wandb.Api(timeout=30).sweep(path)  # type: ignore[no-untyped-call]
    except (wandb.Error, ValueError) as error:
        raise InputError(f"{path}: W&B has no such sweep to show: {_one_line(error)}") from None


def _content(config: Any) -> dict[str, Any]:
    return dict(yaml.safe_load(config) if isinstance(config, str) else config)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
