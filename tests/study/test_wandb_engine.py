"""Studies as W&B sweeps: the real client and its commands against a loopback server."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from comparison import assert_same
from studies import FULL, NONE, until
from wandb_server import WandbServer

from segbench.claim import lock_file
from segbench.runs import RunFolder

Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WandbServer]:
    with WandbServer(tmp_path / "server") as server:
        yield server
        assert server.unknown == []


def start(tmp_path: Path, server: WandbServer, *command: object) -> subprocess.Popen[str]:
    """A process of ``python -m COMMAND`` that knows the server."""
    # `wandb agent` finds segbench as it would in an activated environment
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, command)],
        cwd=tmp_path,
        env=os.environ | server.env | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    printed, said = process.communicate(timeout=240)
    assert process.returncode == code, printed + said
    return printed + said


def files(folder: Path, *but: str) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return {n: path.read_bytes() for n, path in names.items() if n.split("/")[0] not in but}


def test_a_study_on_wandb_from_plan_to_pull(
    server: WandbServer, sweep: Path, tmp_path: Path, segbench: Callable[..., str]
):
    arguments = ("segbench", "sweep", sweep, "--seeds=2", "--workers=2")
    printed = finish(start(tmp_path, server, *arguments))  # a key is at hand: --engine auto
    assert "4 of 4 runs are there" in printed
    ((identity, known),) = server.sweeps.items()
    assert len(known.handed_out) == 4
    assert len(server.runs) == 4
    for run in server.runs.values():
        assert (run.sweep, run.state, run.group) == (identity, "finished", "aug")
        point = known.handed_out[run.id]
        folder = RunFolder(tmp_path / "runs/aug" / run.display_name)
        policy, seed = point["data.augmentation"], point["seed_everything"]
        assert folder.path.name == f"augmentation-{policy}_seed-{seed}"
        assert run.config["model"]["num_classes"] == 8  # resolved, not only what varies
        assert run.config["data"]["augmentation"] == policy
        assert run.config["data.augmentation"] == policy
        assert run.config["seed_everything"] == seed
        epochs = [row["val/mean_iou"] for row in run.history if "val/mean_iou" in row]
        assert epochs == pytest.approx([row["val/mean_iou"] for row in folder.read_metrics()])
        score = folder.read_record()["scores"]["test"]["mean_iou"]
        assert run.summary["test/mean_iou"] == pytest.approx(score)
        assert run.summary["examples"]["count"] == 2  # prediction masks of both images of val
        assert any(name.startswith("media/images/mask/") for name in run.files)
        (artifact,) = (a for a in server.artifacts if a.run == run.id and a.type == "segbench-run")
        assert {n: p.read_bytes() for n, p in artifact.files.items()} == files(
            folder.path, "checkpoints", "wandb"
        )

    path = f"tester/segbench/{identity}"
    pulled = finish(start(tmp_path, server, "segbench", "pull", path, "--out=runs/pulled"))
    assert "4 runs fetched, 0 were there already" in pulled
    for name in {run.display_name for run in server.runs.values()} | {"test"}:
        here, there = tmp_path / "runs/aug" / name, tmp_path / "runs/pulled" / name
        assert files(there, "wandb") == files(here, "checkpoints", "wandb")
    for run in server.runs.values():  # so that publish knows them again
        known = tmp_path / "runs/pulled" / run.display_name / "wandb/run_path"
        assert known.read_text() == f"tester/segbench/{run.id}"
    again = finish(start(tmp_path, server, "segbench", "pull", path, "--out=runs/pulled"))
    assert "0 runs fetched, 4 were there already" in again
    # the pulled study is planned as the first was, and complete
    assert "nothing to do" in segbench("sweep", sweep, "--seeds=2", "--out=runs/pulled")


def test_wandb_sweep_and_agent_by_hand_and_an_agent_that_is_killed(
    server: WandbServer, sweep: Path, tmp_path: Path
):
    said = finish(start(tmp_path, server, "wandb", "sweep", sweep))
    identity = re.search(r"Creat\w+ sweep with ID: (\S+)", said)
    assert identity
    study = tmp_path / "runs" / identity[1]
    agent = start(tmp_path, server, "wandb", "agent", f"tester/segbench/{identity[1]}")
    run = RunFolder(study / NONE)
    until(run.last.exists)
    fit = cell_process_of(run)
    agent.kill()
    agent.communicate()
    until(lambda: not Path(f"/proc/{fit}").exists(), 10)  # it does not train on
    agent = start(tmp_path, server, "wandb", "agent", f"tester/segbench/{identity[1]}")
    finish(agent)
    assert RunFolder(study / FULL).finished()
    (member,) = (run for run in server.runs.values() if run.exit_code == 0)
    assert (member.sweep, member.display_name) == (identity[1], FULL)


def cell_process_of(run: RunFolder) -> int:
    """The process that an agent started: alone in holding the run's claim."""
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if path.resolve() == lock_file(run.path.resolve()):
                return int(path.parts[2])
        except OSError:
            continue
    raise AssertionError(f"nobody writes {run.path}")


def test_after_a_kill_of_everything_the_same_command_finishes_the_sweep(
    server: WandbServer, sweep: Path, tmp_path: Path, segbench: Callable[..., str]
):
    arguments = ("segbench", "sweep", sweep, "--engine=wandb", "--workers=2")
    arguments += ("--trainer.max_epochs=16",)
    first = start(tmp_path, server, *arguments)
    runs = [RunFolder(tmp_path / "runs/aug" / name) for name in (NONE, FULL)]
    until(lambda: all(run.last.exists() for run in runs))
    cells = [cell_process_of(run) for run in runs]
    first.send_signal(signal.SIGKILL)
    first.communicate()
    until(lambda: not any(Path(f"/proc/{cell}").exists() for cell in cells), 10)
    assert "2 of 2 runs are there" in finish(start(tmp_path, server, *arguments))
    # what the server had handed out and lost is still a member of its sweep, as the same run
    assert len(server.sweeps) == 1
    assert {run.sweep for run in server.runs.values()} == set(server.sweeps)
    assert sorted(run.display_name for run in server.runs.values()) == sorted((NONE, FULL))
    assert all(run.state == "finished" for run in server.runs.values())
    whole = ("--engine=local", "--workers=2", "--trainer.max_epochs=16", "--out=runs/undisturbed")
    segbench("sweep", sweep, *whole)
    for run in runs:
        assert_same(run, RunFolder(tmp_path / "runs/undisturbed" / run.path.name))


@pytest.mark.parametrize("fault", ["errors", "gone"])
def test_a_server_that_fails_in_mid_run_stops_nothing(
    server: WandbServer, sweep: Path, tmp_path: Path, process: Process, fault: str
):
    fit = ("segbench", "fit", "--config=base.yaml", "--wandb=true", "--trainer.max_epochs=12")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WANDB_FINISH_TIMEOUT", "3")  # ours is minutes
        logged = start(tmp_path, server, *fit, "--run_dir=runs/study/cell")
    assert server.wait_for(lambda: bool(server.runs))  # before its first epoch
    if fault == "errors":
        server.failing = True
    else:
        server.close()
    assert "W&B does not answer; runs/study/cell is complete" in finish(logged)
    server.failing = False
    if fault == "errors":  # it came back: what it lacks goes up
        (folder,) = (tmp_path / "runs/study/cell/wandb").glob("run-*-*")
        finish(start(tmp_path, server, "wandb", "sync", "--no-skip-online", folder))
        (run,) = server.runs.values()
        assert sum("val/mean_iou" in row for row in run.history) == 12
    process(*fit[1:3], "--trainer.max_epochs=12", "--run_dir=runs/study/without")
    assert_same(RunFolder(tmp_path / "runs/study/cell"), RunFolder(tmp_path / "runs/study/without"))


def test_an_offline_run_goes_up_later(server: WandbServer, sweep: Path, tmp_path: Path):
    fit = ("segbench", "fit", "--config=base.yaml", "--wandb=true", "--run_dir=runs/study/cell")
    offline = os.environ | {"WANDB_API_KEY": "", "NETRC": str(tmp_path / "none")}
    subprocess.run([sys.executable, "-m", *fit], cwd=tmp_path, env=offline, check=True)
    (folder,) = (tmp_path / "runs/study/cell/wandb").glob("offline-run-*")
    finish(start(tmp_path, server, "wandb", "sync", folder))
    (run,) = server.runs.values()
    rows = [row["val/mean_iou"] for row in run.history if "val/mean_iou" in row]
    stored = RunFolder(tmp_path / "runs/study/cell").read_metrics()
    assert rows == pytest.approx([row["val/mean_iou"] for row in stored])
    assert {a.type for a in server.artifacts} == {"segbench-run", "segbench-test-set"}


def test_a_sweep_that_is_not_there(server: WandbServer, tmp_path: Path):
    # a process of its own: the client leaves its marks in the environment
    said = finish(start(tmp_path, server, "segbench", "pull", "tester/segbench/nowhere"), code=2)
    assert "segbench: tester/segbench/nowhere: W&B has no such sweep" in said
