"""The same seed gives the same run, however it is run."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparison import assert_same
from jsonargparse import Namespace

from segbench.logged import SWEEP
from segbench.models import build_model
from segbench.runs import RunFolder
from segbench.training.resume import CHILD, claimed

Segbench = Callable[..., str]

# DeepLab has what could go astray: dropout, and an image pool
TINY = (
    *("--model.architecture=deeplab", "--model.backbone=mobilenet_v3_small", "--model.width=16"),
    *("--data.augmentation=full", "--data.crop_size=48", "--data.samples_per_epoch=8"),
    *("--data.batch_size=4", "--trainer.max_epochs=4"),
)


LONGER = (*TINY, "--trainer.max_epochs=16")  # so that a stop meets it well before its end


@pytest.fixture
def undisturbed(segbench: Segbench, scenes: Path) -> RunFolder:
    segbench("fit", "--data.root", scenes, *TINY, "--run_dir=runs/whole")
    return RunFolder(Path("runs/whole"))


@pytest.mark.parametrize(
    "how",
    [
        ("--data.num_workers=2",),
        ("--trainer.enable_progress_bar=false",),
        ("--keep_freed_memory=false",),
        ("--data.cache_gb=0",),
        ("--data.cache_gb=0", "--data.num_workers=2"),
    ],
    ids=[
        "workers",
        "no progress bar",
        "malloc as it is",
        "decoded anew",
        "decoded anew by workers",
    ],
)
def test_how_a_run_runs_does_not_change_it(
    undisturbed: RunFolder, segbench: Segbench, scenes: Path, how: tuple[str, ...]
):
    """W&B: see test_wandb.py."""
    segbench("fit", "--data.root", scenes, *TINY, *how, "--run_dir=runs/other")
    assert_same(undisturbed, RunFolder(Path("runs/other")))


def test_last_is_of_the_last_epoch_and_what_is_tested_is_the_best(
    undisturbed: RunFolder, segbench: Segbench
):
    rows = undisturbed.read_metrics()
    best = max(rows, key=lambda row: row["val/mean_iou"])["epoch"]
    assert best < 3, "this run should have its best epoch before its last; take another seed"
    assert torch.load(undisturbed.best, weights_only=True)["epoch"] == best
    assert torch.load(undisturbed.last, weights_only=True)["epoch"] == 3
    again = ("test", "--config", undisturbed.config, "--run_dir", undisturbed.path, "--ckpt_path")
    tested = f"{undisturbed.read_record()['scores']['test']['loss']:.4f}"
    assert f"test/loss {' ' * 22} {tested}" in segbench(*again, "best")
    assert tested not in segbench(*again, "last")


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "segbench", "fit", *map(str, args)]


def start(run: RunFolder, *args: object, **how: bool) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*args, "--run_dir", run.path), stderr=subprocess.PIPE, text=True, **how
    )


def wait_for(process: subprocess.Popen[str], epoch: int) -> None:
    """Returns when this epoch (from 1) has been trained and is about to be saved.

    Until then the run prints a line per epoch on stderr.
    """
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith(f"epoch {epoch}/"):
            return
    raise AssertionError(f"it ended before epoch {epoch}: {''.join(seen)}")


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    segbench: Segbench, scenes: Path, tmp_path: Path, stop: signal.Signals
):
    cut, whole = RunFolder(tmp_path / "runs/cut"), RunFolder(tmp_path / "runs/whole")
    # with workers, the first batch after a resume is fetched early
    process = start(cut, "--data.root", scenes, *LONGER, "--data.num_workers=2")
    wait_for(process, epoch=2)
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    assert cut.read_record()["status"] in ("running", "failed")
    assert not cut.counts.exists()
    if stop != signal.SIGKILL:
        assert process.returncode == 128 + stop
        assert err.splitlines()[-1] == (
            f"stopped; go on with: segbench fit --config {cut.config} --run_dir {cut.path} "
            "--ckpt_path last"
        )
    before = torch.load(cut.last, weights_only=True)["global_step"]
    assert before > 0
    segbench("fit", "--config", cut.config, "--run_dir", cut.path, "--ckpt_path", "last")
    segbench("fit", "--data.root", scenes, *LONGER, "--run_dir", whole.path)
    assert_same(cut, whole)


def test_a_stop_during_the_test_loses_nothing(
    undisturbed: RunFolder, segbench: Segbench, scenes: Path, monkeypatch: pytest.MonkeyPatch
):
    from segbench.training.recorder import TestRecorder

    def stop(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    tested = RunFolder(Path("runs/stopped"))
    with monkeypatch.context() as during_the_test:
        during_the_test.setattr(TestRecorder, "on_test_batch_end", stop)
        with pytest.raises(SystemExit) as stopped:
            segbench("fit", "--data.root", scenes, *TINY, "--run_dir", tested.path)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert not tested.counts.exists()
    assert tested.path.name in segbench("runs", "runs")
    segbench("fit", "--config", tested.config, "--run_dir", tested.path, "--ckpt_path=last")
    assert_same(tested, undisturbed)


def test_a_moved_run_goes_on_all_the_same(segbench: Segbench, scenes: Path, tmp_path: Path):
    segbench("fit", "--data.root", scenes, *LONGER, "--run_dir", tmp_path / "runs/whole")
    cut = RunFolder(tmp_path / "runs/cut")
    process = start(cut, "--data.root", scenes, *LONGER)
    wait_for(process, epoch=3)
    process.kill()
    process.communicate()
    moved = RunFolder((tmp_path / "runs").rename(tmp_path / "elsewhere") / "cut")
    segbench("fit", "--config", moved.config, "--run_dir", moved.path, "--ckpt_path", "last")
    assert_same(moved, RunFolder(tmp_path / "elsewhere" / "whole"))


def test_one_process_at_a_time_writes_a_run(
    segbench: Segbench, refusal: Segbench, scenes: Path, tmp_path: Path
):
    run = RunFolder(tmp_path / "runs/one")
    process = start(run, "--data.root", scenes, *TINY, "--trainer.max_epochs=100")
    wait_for(process, epoch=1)
    line = refusal("fit", "--config", run.config, "--run_dir", run.path, "--ckpt_path=last")
    process.kill()
    process.communicate()
    assert f"{run.path}: another process is writing this run" in line


def test_a_run_killed_before_its_first_epoch_ended_begins_anew(
    undisturbed: RunFolder, segbench: Segbench, scenes: Path, tmp_path: Path
):
    early = RunFolder(tmp_path / "runs/early")
    process = start(early, "--data.root", scenes, *TINY)
    wait_for(process, epoch=1)
    process.kill()  # before or while the first checkpoint is written
    process.communicate()
    segbench("fit", "--config", early.config, "--run_dir", early.path, "--ckpt_path", "last")
    assert_same(early, undisturbed)


def test_a_pretrained_run_stopped_in_its_first_epoch_begins_anew_from_imagenet(
    segbench: Segbench, scenes: Path, monkeypatch: pytest.MonkeyPatch
):
    from segbench import task

    asked_for = []

    def build(*args: Any, pretrained: bool | None, **keys: Any) -> torch.nn.Module:
        asked_for.append(pretrained)
        return build_model(*args, **keys)  # its weights would have to be fetched

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(task, "build_model", build)
    run = RunFolder(Path("runs/early"))
    begin = ("fit", "--data.root", scenes, *TINY, "--model.pretrained=true", "--run_dir", run.path)
    with monkeypatch.context() as first_epoch:
        first_epoch.setattr(task.SegmentationTask, "training_step", stop)
        with pytest.raises(SystemExit):
            segbench(*begin)
    assert run.read_config()["model"]["pretrained"]
    segbench(*begin, "--ckpt_path=last")
    segbench(*begin, "--ckpt_path=last")  # from a checkpoint, which holds every weight
    assert asked_for == [True, True, None]


@pytest.mark.parametrize(
    "told", [{CHILD: "runs/cell"}, {"RANK": "1"}], ids=["lightning", "torchrun"]
)
def test_the_other_processes_of_a_sweeps_run_go_on_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, str]
):
    monkeypatch.chdir(tmp_path)
    for name, value in ({SWEEP: "abc"} | told).items():
        monkeypatch.setenv(name, value)
    for begun, expected in ((False, None), (True, "last")):
        config = Namespace(run_dir="runs/cell", ckpt_path=None)
        with claimed(config, "", {}) as run:
            assert config["ckpt_path"] == expected
        if not begun:
            run.path.mkdir(parents=True)
            run.write_record({})


def test_a_finished_run_is_left_alone(undisturbed: RunFolder, segbench: Segbench):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.path.rglob("*")}
    printed = segbench(
        *("fit", "--config", undisturbed.config, "--run_dir", undisturbed.path),
        *("--ckpt_path", "last"),
    )
    assert "finished already" in printed
    assert {path: path.stat().st_mtime_ns for path in undisturbed.path.rglob("*")} == before


def test_a_run_does_not_go_on_with_another_configuration(undisturbed: RunFolder, refusal: Segbench):
    line = refusal(
        *("fit", "--config", undisturbed.config, "--model.lr=0.1"),
        *("--run_dir", undisturbed.path, "--ckpt_path", "last"),
    )
    assert "its run has another model.lr (0.001 -> 0.1)" in line


@pytest.mark.parametrize("damage", ["cut short", "one bit", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_best_one_offered(
    undisturbed: RunFolder, refusal: Segbench, segbench: Segbench, damage: str
):
    content = bytearray(undisturbed.last.read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    undisturbed.last.write_bytes(
        {"cut short": content[: len(content) // 2], "one bit": content, "empty": b""}[damage]
    )
    record = undisturbed.read_record()
    record["status"] = "running"  # as a kill before the test would have left it
    undisturbed.write_record({k: v for k, v in record.items() if k != "format"})
    again = ("fit", "--config", undisturbed.config, "--run_dir", undisturbed.path, "--ckpt_path")
    line = refusal(*again, "last")
    assert f"{undisturbed.last}: damaged" in line
    assert "--ckpt_path best" in line
    expected = undisturbed.read_metrics()[-1]["val/mean_iou"]
    segbench(*again, "best")
    assert undisturbed.read_metrics()[-1]["val/mean_iou"] == expected
    assert undisturbed.read_record()["status"] == "finished"


def test_a_strangers_checkpoint_runs_no_code(refusal: Segbench, scenes: Path, tmp_path: Path):
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'sprung'}",)

    torch.save({"state_dict": {}, "trap": Trap()}, tmp_path / "gift.ckpt")
    for verb in ("fit", "test", "validate", "predict"):
        line = refusal(verb, "--data.root", scenes, "--ckpt_path", tmp_path / "gift.ckpt")
        assert "gift.ckpt: holds more than tensors" in line
    assert not (tmp_path / "sprung").exists()


def test_two_processes_score_what_one_scores(
    undisturbed: RunFolder, process: Callable[..., subprocess.CompletedProcess[str]]
):
    """Two validation and three test images on two processes: none twice, none left out."""
    args = ("--config", undisturbed.config, "--run_dir", undisturbed.path)
    printed = {}
    for devices in (1, 2):
        for verb in ("validate", "test"):
            done = process(
                *(verb, *args, "--trainer.accelerator=cpu", f"--trainer.devices={devices}"),
                *(("--trainer.strategy=ddp",) if devices == 2 else ()),
            )
            assert done.returncode == 0, done.stderr
            printed[devices, verb] = done.stdout
    for verb in ("validate", "test"):
        assert printed[1, verb] == printed[2, verb]


def test_two_processes_that_are_stopped_say_once_how_to_go_on(scenes: Path, tmp_path: Path):
    run = RunFolder(tmp_path / "runs/cut")
    pair = ("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp")
    process = start(run, "--data.root", scenes, *LONGER, *pair, start_new_session=True)
    wait_for(process, epoch=2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends Ctrl-C to both
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert err.count("stopped; go on with: segbench fit") == 1


def test_two_processes_leave_one_complete_run(
    process: Callable[..., subprocess.CompletedProcess[str]], scenes: Path, tmp_path: Path
):
    done = process(
        *("fit", "--data.root", scenes, *TINY, "--trainer.accelerator=cpu"),
        *("--trainer.devices=2", "--trainer.strategy=ddp"),
    )
    assert done.returncode == 0, done.stderr
    (path,) = (p for p in (tmp_path / "runs" / scenes.name).iterdir() if p.name != "test")
    run = RunFolder(path)
    record = run.read_record()
    assert record["status"] == "finished"
    assert record["steps"] == 4  # 8 crops in 2 batches of 4: one step for both
    tested = run.read_counts()
    assert tested.counts.shape == (3, 8, 8)
    assert (tested.counts.sum((1, 2)) == 96 * 96).all()
    assert len(list((run.test / "predictions").iterdir())) == 3


def test_a_run_that_diverges_says_where_and_keeps_what_it_had(
    refusal: Segbench, segbench: Segbench, scenes: Path, monkeypatch: pytest.MonkeyPatch
):
    from segbench.task import SegmentationTask

    step = SegmentationTask._step

    def breaking(self: SegmentationTask, batch: object, split: str) -> tuple[torch.Tensor, ...]:
        loss, *rest = step(self, batch, split)  # type: ignore[arg-type]
        return (loss * np.nan if self.global_step == 4 and split == "train" else loss, *rest)

    monkeypatch.setattr(SegmentationTask, "_step", breaking)
    with pytest.raises(SystemExit) as stop:
        segbench("fit", "--data.root", scenes, *TINY, "--run_dir=runs/nan")
    assert stop.value.code == 1
    run = RunFolder(Path("runs/nan"))
    record = run.read_record()
    assert record["status"] == "diverged"
    assert "nan at step 4 (learning rate" in record["error"]
    assert record["epochs"] == 2
    assert run.last.exists()
    assert "mean_iou" in record["scores"]["test"]  # of the best checkpoint before
    assert json.loads(run.record.read_text())["format"] == 1
