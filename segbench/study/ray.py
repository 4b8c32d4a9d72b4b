"""The Ray engine: one task per cell, on this machine's Ray or on a cluster.

Ray retries a task whose worker process or node was lost. Where a node sees the study's folder
the cell goes on from its last checkpoint; where it does not, the finished run folder comes back
through Ray's object store.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from segbench.errors import InputError
from segbench.runs import RunFolder
from segbench.study.cells import StudyRuns, start_cell
from segbench.study.plan import Plan, read_plan
from segbench.study.progress import StudyProgress
from segbench.study.spec import Cell, Sweep

RETRIES = 3  # of a task whose worker was lost
LOOK = 0.2  # seconds between two looks at the cell's process


def run_ray(
    runs: StudyRuns, sweep: Sweep, address: str | None, workers: int | None
) -> StudyProgress:
    """Run what is missing of a study as Ray tasks.

    Args:
        runs: the study.
        sweep: how a cell's command is made.
        address: of a running cluster; without one, Ray is started here and ends with this call.
        workers: cells at a time; by default as many as the cluster has GPUs, or one per node.

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
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except ConnectionError as error:
        raise InputError(f"--address: {address}: no Ray cluster answers ({error})") from None
    try:
        return _run(ray, runs, sweep, workers)
    finally:
        ray.shutdown()


def _run(ray: Any, runs: StudyRuns, sweep: Sweep, workers: int | None) -> StudyProgress:
    total = ray.cluster_resources()
    gpus = int(total.get("GPU", 0))
    places = workers or gpus or len(ray.nodes())
    needs = {"num_cpus": total["CPU"] / places, "num_gpus": 1 if gpus else 0}
    task = ray.remote(max_retries=RETRIES, **needs)(_cell)
    waiting = {task.remote(runs.plan, sweep, cell, os.getcwd()): cell for cell in runs.missing()}
    with StudyProgress(runs, places) as progress:
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=1)
            progress.watch(runs)
            for reference in ready:
                cell = waiting.pop(reference)
                try:
                    code, files = ray.get(reference)
                except ray.exceptions.RayError as error:
                    code, files = 1, {f"logs/{cell.name}.txt": str(error).encode()}
                _put(runs.plan.folder, files)
                if cell.name not in progress.ended:
                    progress.ends(cell, code)
    return progress


def _cell(plan: Plan, sweep: Sweep, cell: Cell, cwd: str) -> tuple[int, dict[str, bytes]]:
    """On a worker: run a cell; give its exit code, and its files where the driver sees none."""
    if Path(cwd).is_dir():
        os.chdir(cwd)
    shared = _sees(plan)
    folder = plan.folder if shared else Path(tempfile.mkdtemp(prefix="segbench-")) / "study"
    runs = StudyRuns(plan, {cell.name: RunFolder(folder / cell.name)})
    if not shared:
        runs = StudyRuns(Plan(folder, plan.content), runs.folders)
        runs.plan.write()
    started = start_cell(runs, cell, sweep.command(cell, folder / cell.name), {})
    if started is None:
        return 0, {}  # complete, or another engine is at it
    while not started.ended():
        time.sleep(LOOK)
    return started.process.returncode, {} if shared else _files(folder)


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
        path.write_bytes(content)
