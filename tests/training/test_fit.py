"""``segbench fit`` through its own door: what a run folder holds and whether it is true."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.metrics import confusion_matrix

from segbench import metrics
from segbench.data.classes import IGNORE
from segbench.runs import RunFolder, find_runs

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
NETWORKS = [path for path in CONFIGS if path.stem != "quick"]
Segbench = Callable[..., str]

TINY = (
    *("--model.width=8", "--data.crop_size=48", "--data.samples_per_epoch=8"),
    *("--data.batch_size=4", "--trainer.max_epochs=3"),
)


@pytest.fixture
def fitted(segbench: Segbench, scenes: Path) -> RunFolder:
    segbench("fit", "--data.root", scenes, *TINY, "--run_dir", "runs/study/cell")
    return RunFolder(Path("runs/study/cell"))


def test_a_run_folder_is_complete(fitted: RunFolder, scenes: Path):
    record = fitted.read_record()
    assert record["status"] == "finished"
    assert record["arm"] == {
        "model.width": 8,
        "data.crop_size": 48,
        "data.samples_per_epoch": 8,
        "data.batch_size": 4,
        "trainer.max_epochs": 3,
    }
    assert (record["seed"], record["epochs"], record["steps"]) == (0, 3, 6)
    assert record["size_mb"] == pytest.approx(record["parameters"] * 4e-6, rel=0.02)
    config = fitted.read_config()
    assert config["model"]["num_classes"] == 8  # linked, and written down all the same
    assert "run_dir" not in config
    for checkpoint in (fitted.best, fitted.last):
        assert "state_dict" in torch.load(checkpoint, weights_only=True)
    names = [f"{path.stem}" for path in sorted((scenes / "test" / "image").iterdir())]
    for kind in ("predictions", "confidence"):
        assert sorted(p.stem for p in (fitted.test / kind).iterdir()) == names
    for kind in ("image", "truth"):
        assert sorted(p.stem for p in (fitted.study_test / kind).iterdir()) == names
    leftovers = list(fitted.path.rglob(".*"))
    assert leftovers == []


def test_metrics_csv_has_a_row_per_epoch_and_the_best_is_the_best(fitted: RunFolder):
    with fitted.metrics.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    for split in ("train", "train_clean", "val"):
        for score in ("loss", "mean_iou", "mean_class_acc", "mean_acc"):
            assert all(np.isfinite(float(row[f"{split}/{score}"])) for row in rows)
    assert {"val/iou/Water", "lr", "seconds"} <= rows[0].keys()
    record = fitted.read_record()
    best = max(rows, key=lambda row: float(row["val/mean_iou"]))
    assert record["best_epoch"] == int(best["epoch"])
    assert record["scores"]["val"]["mean_iou"] == float(best["val/mean_iou"])
    checkpoint = torch.load(fitted.best, weights_only=True)
    assert checkpoint["epoch"] == int(best["epoch"])


def test_counts_equal_the_predictions_against_the_truth(fitted: RunFolder, scenes: Path):
    tested = fitted.read_counts()
    assert tested.counts.dtype == np.uint64
    for name, counts in zip(tested.images, tested.counts, strict=True):
        truth = np.asarray(Image.open(scenes / "test" / "mask" / f"{name}.png"))
        stored = np.asarray(Image.open(fitted.study_test / "truth" / f"{name}.png"))
        assert (stored == truth).all()
        predicted = np.asarray(Image.open(fitted.test / "predictions" / f"{name}.png"))
        seen = truth != IGNORE
        expected = confusion_matrix(truth[seen], predicted[seen], labels=range(8))
        assert (counts == expected).all()
    scores = fitted.read_record()["scores"]["test"]
    assert scores["mean_iou"] == pytest.approx(float(metrics.mean_iou(tested.counts.sum(0))))
    assert scores["mean_iou_per_image_absent0"] < scores["mean_iou_per_image_absent1"]


def test_confidence_is_a_probability_of_the_winner(fitted: RunFolder):
    for path in (fitted.test / "confidence").iterdir():
        confidence = np.asarray(Image.open(path))
        assert confidence.dtype == np.uint8
        assert confidence.min() >= round(255 / 8) - 1  # the largest of eight is at least 1/8


def without_times(run: RunFolder) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.read_metrics()]


def test_config_yaml_repeats_the_run(fitted: RunFolder, segbench: Segbench):
    segbench("fit", "--config", fitted.config, "--run_dir", "runs/study/again")
    again = RunFolder(Path("runs/study/again"))
    assert again.config.read_text() == fitted.config.read_text()
    assert without_times(again) == without_times(fitted)
    assert (again.read_counts().counts == fitted.read_counts().counts).all()
    first, second = (torch.load(r.last, weights_only=True)["state_dict"] for r in (fitted, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_is_another_run(fitted: RunFolder, segbench: Segbench):
    segbench(
        *("fit", "--config", fitted.config, "--seed_everything=1", "--run_dir", "runs/study/1")
    )
    other = RunFolder(Path("runs/study/1"))
    assert without_times(other) != without_times(fitted)
    a, b = (r.read_record()["fingerprints"] for r in (fitted, other))
    assert a["data"] == b["data"]
    assert a["config"] != b["config"]


def test_the_best_checkpoint_scores_as_run_json_says(fitted: RunFolder, segbench: Segbench):
    for verb, split in (("test", "test"), ("validate", "val")):
        printed = segbench(verb, "--config", fitted.config, "--run_dir", fitted.path)
        scores = dict(line.rsplit(maxsplit=1) for line in printed.splitlines())
        expected = fitted.read_record()["scores"][split]["mean_iou"]
        assert float(scores[f"{split}/mean_iou"]) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize("change", ["--data.folds=3", "--model.width=4"])
def test_a_checkpoint_is_not_scored_on_what_it_was_not_made_for(
    fitted: RunFolder, refusal: Segbench, change: str
):
    line = refusal("test", "--config", fitted.config, change, "--run_dir", fitted.path)
    assert change[2:].split("=")[0] in line
    assert str(fitted.config) in line


def test_a_checkpoint_of_another_network_is_refused(
    fitted: RunFolder, refusal: Segbench, scenes: Path
):
    line = refusal(
        *("fit", "--data.root", scenes, *TINY, "--model.width=4", "--run_dir=runs/study/new"),
        *("--ckpt_path", fitted.best),
    )
    assert f"{fitted.best}: holds another network" in line
    assert not Path("runs/study/new").exists()


def test_predict_writes_what_the_test_saw(fitted: RunFolder, segbench: Segbench):
    segbench("predict", "--config", fitted.config, "--ckpt_path", fitted.best)
    (folder,) = Path("runs/predict").iterdir()
    for path in (fitted.test / "predictions").iterdir():
        assert (folder / "predictions" / path.name).read_bytes() == path.read_bytes()


def test_two_processes_predict_into_one_folder(
    fitted: RunFolder, process: Callable[..., subprocess.CompletedProcess[str]]
):
    done = process(
        *("predict", "--config", fitted.config, "--ckpt_path", fitted.best),
        *("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"),
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    (folder,) = Path("runs/predict").iterdir()
    assert line == f"predictions in {folder / 'predictions'}"
    for path in (fitted.test / "predictions").iterdir():
        assert (folder / "predictions" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("config", NETWORKS, ids=lambda path: path.stem)
def test_every_config_trains_two_steps(config: Path, segbench: Segbench, scenes: Path):
    assert len(config.read_text().splitlines()) <= 40
    printed = segbench(
        *("fit", "--config", config, "--data.root", scenes, "--data.crop_size=64"),
        *("--data.samples_per_epoch=4", "--data.batch_size=2", "--trainer.max_epochs=1"),
    )
    (run,) = find_runs(Path("runs") / scenes.name)
    assert run.read_record()["steps"] == 2
    assert printed.startswith(f"{run.path}: test mean IoU")
    assert " at epoch 1; 2 steps" in printed  # people count from 1
    table = segbench("runs", f"runs/{scenes.name}")
    assert run.path.name in table
    assert f"{run.read_record()['scores']['test']['mean_iou']:.3f}" in table


def test_default_run_folders_are_numbered(segbench: Segbench, scenes: Path):
    for _ in range(2):
        segbench("fit", "--data.root", scenes, *TINY, "--trainer.max_epochs=1")
    assert sorted(p.name for p in Path("runs/scenes").glob("unet*")) == [
        "unet_seed-0",
        "unet_seed-0-2",
    ]


def test_a_used_run_folder_is_refused(fitted: RunFolder, refusal: Segbench, scenes: Path):
    before = fitted.record.read_bytes()
    line = refusal("fit", "--data.root", scenes, *TINY, "--run_dir", fitted.path)
    assert "holds a run already" in line
    assert "--ckpt_path last" in line
    assert fitted.record.read_bytes() == before


def test_a_class_without_truth_is_null_and_not_a_number_that_json_lacks(
    segbench: Segbench, scenes: Path, tmp_path: Path
):
    data = Path(shutil.copytree(scenes, tmp_path / "few"))
    for path in data.glob("*/mask/*"):
        mask = np.array(Image.open(path))
        mask[mask == 6] = 0  # no pools
        Image.fromarray(mask).save(path)
    segbench("fit", "--data.root", data, *TINY, "--run_dir", "runs/few/cell")
    text = RunFolder(Path("runs/few/cell")).record.read_text()
    record = json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert record["scores"]["test"]["iou/Pool"] is None
    assert record["scores"]["test"]["iou/Grass"] is not None
    assert "cell" in segbench("runs", "runs/few")


def test_a_val_split_without_a_label_is_said_to_have_none(
    segbench: Segbench, scenes: Path, tmp_path: Path
):
    data = Path(shutil.copytree(scenes, tmp_path / "unlabelled"))
    for path in data.glob("val/mask/*"):
        Image.new("L", (96, 96), IGNORE).save(path)
    printed = segbench("fit", "--data.root", data, *TINY, "--run_dir", "runs/none/cell")
    assert ", no val pixel is labelled; " in printed


def test_runs_of_different_data_do_not_share_a_study(
    fitted: RunFolder, refusal: Segbench, tmp_path: Path
):
    from segbench.data.synthetic import generate

    generate(tmp_path / "other", train=4, val=1, test=1, size=64, seed=5)
    line = refusal(
        *("fit", "--data.root", tmp_path / "other", *TINY, "--run_dir", "runs/study/other")
    )
    assert not Path("runs/study/other").exists()
    assert "another data set" in line
    assert "--run_dir" in line


def test_the_arm_is_what_was_given_beside_the_first_config(
    segbench: Segbench, scenes: Path, tmp_path: Path
):
    base = tmp_path / "base.yaml"
    base.write_text(
        yaml.dump(
            {
                "model": {"width": 8},
                "data": {"root": str(scenes), "crop_size": 48, "samples_per_epoch": 8},
                "trainer": {"max_epochs": 1},
            }
        )
    )
    overlay = tmp_path / "cell.json"
    overlay.write_text(json.dumps({"data.augmentation": "full", "seed_everything": 4}))
    segbench("fit", "--config", base, "--config", overlay, "--model.loss=dice", "--run_dir", "r/a")
    record = RunFolder(Path("r/a")).read_record()
    assert record["arm"] == {"data.augmentation": "full", "model.loss": "dice"}
    assert record["seed"] == 4


def test_a_search_of_rates_leaves_test_unread_until_it_is_asked_for(
    segbench: Segbench, scenes: Path
):
    run = RunFolder(Path("runs/study/cell"))
    command = ("fit", "--data.root", scenes, *TINY, "--run_dir", run.path)
    assert "not tested" in segbench(*command, "--test=false")
    assert run.finished()
    assert "test" not in run.read_record()["scores"]
    assert not run.counts.exists()
    rows = run.read_metrics()
    segbench(*command, "--ckpt_path=last")
    assert run.finished()
    assert run.counts.exists()
    assert run.read_metrics() == rows


def test_a_configuration_may_build_on_a_file(segbench: Segbench, scenes: Path, tmp_path: Path):
    (tmp_path / "base.yaml").write_text(yaml.dump({"model": {"width": 8}, "seed_everything": 7}))
    inline = json.dumps({"model.loss": "dice", "config": "base.yaml", "seed_everything": 2})
    segbench("fit", "--config", inline, "--data.root", scenes, *TINY[1:], "--run_dir=runs/s/c")
    run = RunFolder(Path("runs/s/c"))
    assert run.read_config()["model"]["width"] == 8
    assert run.read_record()["seed"] == 2  # its own keys win, wherever they stand
    assert run.read_record()["arm"]["config"] == "base.yaml"
    assert "model.width" not in run.read_record()["arm"]
