"""The Ray engine: one task per cell, on this machine's Ray or on a cluster.

Ray retries a task whose worker process or node was lost. Where a node sees the study's folder
the cell goes on from its last checkpoint; where it does not, the finished run folder comes back
through Ray's object store.
"""

import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from segbench.errors import InputError
from segbench.files import write_atomic
from segbench.runs import RunFolder
from segbench.study.cells import StudyCells, start_cell
from segbench.study.local import sigterm_is_ctrl_c
from segbench.study.plan import Plan, read_plan
from segbench.study.progress import StudyProgress
from segbench.study.spec import Cell, Sweep

RETRIES = 3  # of a task whose worker was lost
LOOK = 0.2  # seconds between two looks at the cell's process
TRY_AGAIN = 2.0  # seconds between two tries to take over what another engine is at


def run_ray(
    runs: StudyCells, sweep: Sweep, address: str | None, workers: int | None, keep_going: bool
) -> StudyProgress:
    """Run what is missing of a study as Ray tasks.

    Args:
        runs: the study.
        sweep: how a cell's command is made.
        address: of a running cluster; without one, Ray is started here and ends with this call.
        workers: cells at a time; by default as many as the cluster has GPUs, or one per node.
        keep_going: whether a failed cell leaves the others alone.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise InputError("--engine ray: needs Ray: pip install 'segbench[ray]'") from None
    # no reports to Ray's makers, and no note on GPUs that a task did not ask for
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    _check_address(address)
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except ConnectionError as error:
        raise InputError(f"--address: {address}: no Ray cluster answers ({error})") from None
    try:
        return _run(ray, runs, sweep, workers, keep_going)
    finally:
        ray.shutdown()


def _check_address(address: str | None) -> None:
    """Ask first: Ray's client would try for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host.split("://")[-1], int(port)), timeout=5).close()
        except OSError as error:
            raise InputError(f"--address: {address}: nothing answers there ({error})") from None


def _run(
    ray: Any, runs: StudyCells, sweep: Sweep, workers: int | None, keep_going: bool
) -> StudyProgress:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    places = workers or gpus or len(nodes)
    cores = [node["CPU"] for node in nodes if node.get("CPU")]
    # a task must fit on a node
    needs = {"num_cpus": min(sum(cores) / places, *cores), "num_gpus": 1 if gpus else 0}
    task = ray.remote(max_retries=RETRIES, **needs)(_cell)
    missing = runs.missing()
    at_it: dict[Any, Cell] = {}
    with StudyProgress(runs, places) as progress, sigterm_is_ctrl_c():
        while missing or at_it:
            if progress.start_no_more(keep_going):
                missing = []
            while missing and len(at_it) < places:
                cell = missing.pop(0)
                at_it[task.remote(runs.plan, sweep, cell, os.getcwd())] = cell
            if not at_it:
                break
            ready, _ = ray.wait(list(at_it), timeout=1)
            progress.watch(runs)
            for reference in ready:
                cell = at_it.pop(reference)
                try:
                    code, files = ray.get(reference)
                except ray.exceptions.RayError as error:
                    code, files = 1, {}
                    runs.log(cell).parent.mkdir(exist_ok=True)
                    with runs.log(cell).open("a", encoding="utf-8") as log:
                        log.write(f"{error}\n")
                _put(runs.plan.folder, files)
                if cell.name not in progress.ended:
                    progress.ends(cell, code)
    return progress


def _cell(plan: Plan, sweep: Sweep, cell: Cell, cwd: str) -> tuple[int, dict[str, bytes]]:
    """On a worker: run a cell; give its exit code, and its files where the driver sees none."""
    if Path(cwd).is_dir():
        os.chdir(cwd)
    if _sees(plan):
        return _run_here(plan, sweep, cell), {}
    with tempfile.TemporaryDirectory(prefix="segbench-") as place:
        here = Plan(Path(place) / "study", plan.content)
        here.write()
        return _run_here(here, sweep, cell), _files(here.folder)


def _run_here(plan: Plan, sweep: Sweep, cell: Cell) -> int:
    runs = StudyCells(plan, {cell.name: RunFolder(plan.folder / cell.name)})
    while (started := start_cell(runs, sweep, cell, {})) is None:
        if runs.state(cell).complete:
            return 0
        time.sleep(TRY_AGAIN)  # another engine is at it
    while not started.ended():
        time.sleep(LOOK)
    return started.process.returncode


def _sees(plan: Plan) -> bool:
    try:
        return read_plan(plan.folder).hash == plan.hash
    except InputError:
        return False


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "study.yaml")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def _put(folder: Path, files: dict[str, bytes]) -> None:
    last = "run.json"  # what makes a folder a run comes when the rest is there
    for name, content in sorted(files.items(), key=lambda file: file[0].endswith(last)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
