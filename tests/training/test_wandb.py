"""Weights & Biases beside the run folder: offline without a key, and never in the way."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from segbench.online import key_at_hand
from segbench.runs import RunFolder

Process = Callable[..., CompletedProcess[str]]


def inspect(run: Path, *flags: str) -> Any:
    """What wandb itself reads from an offline run."""
    (file,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", *flags, "--json", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    "key", [{"WANDB_API_KEY": ""}, {"WANDB_API_KEY": "0" * 40}], ids=["no key", "no network"]
)
def test_a_run_that_cannot_go_online_is_kept_offline_and_is_the_same(
    process: Process,
    segbench: Callable[..., str],
    scenes: Path,
    tmp_path: Path,
    key: dict[str, str],
):
    args = (
        *("fit", "--data.root", scenes, "--model.width=8", "--data.crop_size=48"),
        *("--data.samples_per_epoch=8", "--data.batch_size=4", "--trainer.max_epochs=2"),
    )
    done = process(
        *(*args, "--wandb=true", "--run_dir=runs/study/cell"),
        HOME=str(tmp_path),
        NETRC=str(tmp_path / "none"),
        **key,
        WANDB_BASE_URL="http://127.0.0.1:9",  # nobody answers there
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "study" / "cell"
    record = json.loads((run / "run.json").read_text())
    logged = json.loads(inspect(run, "--summary"))
    assert logged["exit_code"] == 0
    config = logged["config"]
    assert config["model"]["num_classes"] == 8
    assert config["data"]["crop_size"] == 48
    assert config["seed_everything"] == 0
    summary = logged["summary"]
    assert summary["test/mean_iou"] == pytest.approx(record["scores"]["test"]["mean_iou"])
    assert summary["examples"]["count"] == 2  # val has two images
    history = [json.loads(line) for line in inspect(run).splitlines()]
    epochs = [row for row in history if "val/mean_iou" in json.dumps(row)]
    assert len(epochs) >= 2

    segbench(*args, "--run_dir=runs/study/without")
    with_wandb, without = RunFolder(run), RunFolder(tmp_path / "runs/study/without")
    for row, other in zip(with_wandb.read_metrics(), without.read_metrics(), strict=True):
        assert row | {"seconds": 0} == other | {"seconds": 0}
    assert (with_wandb.read_counts().counts == without.read_counts().counts).all()


def test_two_processes_log_one_run(process: Process, scenes: Path, tmp_path: Path):
    done = process(
        *("fit", "--data.root", scenes, "--model.width=8", "--data.crop_size=48"),
        *("--data.samples_per_epoch=8", "--data.batch_size=4", "--trainer.max_epochs=1"),
        *("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"),
        *("--wandb=true", "--run_dir=runs/study/cell"),
        WANDB_MODE="offline",
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "study" / "cell"
    logged = json.loads(inspect(run, "--summary"))
    assert logged["config"]["data"]["crop_size"] == 48
    scores = RunFolder(run).read_record()["scores"]
    assert logged["summary"]["test/mean_iou"] == pytest.approx(scores["test"]["mean_iou"])


def test_a_key_is_found_in_the_environment_and_in_netrc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    file = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(file))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    server = "https://api.wandb.ai"
    assert not key_at_hand(server)
    file.write_text("machine api.wandb.ai login user password 0123\n")
    file.chmod(0o600)
    assert key_at_hand(server)
    assert not key_at_hand("https://wandb.example.org")
    monkeypatch.setenv("WANDB_API_KEY", "0123")
    assert key_at_hand("https://wandb.example.org")
