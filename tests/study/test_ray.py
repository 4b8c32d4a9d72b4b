"""The Ray engine on a cluster of two nodes, and what a lost worker costs."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from comparison import assert_same
from studies import FULL, NONE, cell_process, parent, until

from segbench.runs import RunFolder

pytestmark = pytest.mark.slow  # Ray alone takes half a minute to start and to end

Segbench = Callable[..., str]

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of two nodes on this machine, of one core each."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if re.fullmatch(r"[\d.]+:\d+", line.strip()):
            yield line.strip()
            break
    process.communicate()  # its end takes the nodes with it


def test_two_nodes_share_a_study_and_a_killed_workers_cell_is_run_on_another(
    cluster: str, segbench: Segbench, sweep: Path, tmp_path: Path
):
    command = ("sweep", sweep, "--trainer.max_epochs=24")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "segbench", *map(str, command)),
            *("--engine=ray", f"--address={cluster}"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    runs = [RunFolder(tmp_path / "runs/aug" / name) for name in (NONE, FULL)]
    until(lambda: all(run.last.exists() for run in runs), 180)  # both at once: one on each node
    fit = cell_process(runs[0])
    os.kill(parent(fit), signal.SIGKILL)
    until(lambda: not Path(f"/proc/{fit}").exists(), 10)
    printed, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "2 of 2 runs are there" in printed
    segbench(*command, "--engine=local", "--workers=2", "--out=runs/undisturbed")
    for run in runs:
        assert_same(run, RunFolder(tmp_path / "runs/undisturbed" / run.path.name))


def test_where_a_node_sees_no_folder_the_run_comes_back_through_ray(
    segbench: Segbench, sweep: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from segbench.study import ray as engine

    monkeypatch.setattr(engine, "_sees", lambda plan: False)  # as on a machine of its own
    monkeypatch.chdir(tmp_path)
    plan = planned(sweep)
    cell = plan.cells[0]
    code, files = engine._cell(plan, read(sweep), cell, str(tmp_path))
    assert code == 0
    assert not (plan.folder / cell.name / "run.json").exists()
    engine._put(plan.folder, files)
    run = RunFolder(plan.folder / cell.name)
    assert run.finished()
    assert (plan.folder / "test" / "data").exists()
    segbench("sweep", sweep, "--engine=local", "--out=runs/local")
    assert_same(run, RunFolder(Path("runs/local") / cell.name))


def planned(sweep: Path):
    from segbench.study.planning import plan_study, tested_by

    plan = plan_study(read(sweep), Path("runs/aug"), tested_by(read(sweep)))
    plan.write()
    return plan


def read(sweep: Path):
    from segbench.study.spec import read_sweep

    return read_sweep(sweep, {})
