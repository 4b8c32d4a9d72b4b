"""``data.eval_tile``: scores of tiles in place of scores of whole images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.runs import RunFolder

Segbench = Callable[..., str]

# its pools over the image make it see its tile at once
TINY = (
    *("--model.architecture=deeplab", "--model.backbone=mobilenet_v3_small", "--model.width=16"),
    *("--data.crop_size=80", "--data.samples_per_epoch=8"),
    *("--data.batch_size=4", "--trainer.max_epochs=2"),
)


def fitted(segbench: Segbench, scenes: Path, name: str, *args: str) -> RunFolder:
    segbench("fit", "--data.root", scenes, *TINY, *args, "--run_dir", f"runs/study/{name}")
    return RunFolder(Path(f"runs/study/{name}"))


def scores(run: RunFolder) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.read_metrics()]


def test_a_tile_that_covers_the_images_changes_nothing(segbench: Segbench, scenes: Path):
    whole, covering = (
        fitted(segbench, scenes, name, *args)
        for name, args in (("whole", ()), ("covering", ("--data.eval_tile=96",)))
    )
    assert scores(covering) == scores(whole)
    assert (covering.read_counts().counts == whole.read_counts().counts).all()


def test_tiles_score_val_train_clean_and_test_and_are_part_of_the_run(
    segbench: Segbench, refusal: Segbench, scenes: Path
):
    whole = fitted(segbench, scenes, "whole")
    tiles = fitted(segbench, scenes, "tiles", "--data.eval_tile=64")
    for before, after in zip(scores(whole), scores(tiles), strict=True):
        assert before["train/loss"] == after["train/loss"]  # training is untouched
        for split in ("val", "train_clean"):
            assert after[f"{split}/loss"] != before[f"{split}/loss"]
            assert after[f"{split}/loss"] == pytest.approx(before[f"{split}/loss"], rel=0.5)
    a, b = (run.read_record() for run in (whole, tiles))
    assert a["scores"]["test"]["loss"] != b["scores"]["test"]["loss"]
    assert a["fingerprints"]["config"] != b["fingerprints"]["config"]
    assert b["arm"]["data.eval_tile"] == 64
    line = refusal(
        *("fit", "--config", whole.config, "--data.eval_tile=64"),
        *("--run_dir", whole.path, "--ckpt_path=last"),
    )
    assert "data.eval_tile (None -> 64)" in line


def test_a_run_can_be_scored_in_tiles_later(segbench: Segbench, scenes: Path):
    run = fitted(segbench, scenes, "whole")
    printed = {}
    for tile in ("null", "64", "96"):
        args = ("--config", run.config, f"--data.eval_tile={tile}", "--run_dir", run.path)
        printed[tile] = segbench("test", *args)
    assert printed["96"] == printed["null"] != printed["64"]


def test_predict_writes_what_a_test_in_tiles_saw(segbench: Segbench, scenes: Path):
    run = fitted(segbench, scenes, "tiles", "--data.eval_tile=64")
    segbench("predict", "--config", run.config, "--ckpt_path", run.best)
    (folder,) = Path("runs/predict").iterdir()
    for path in (run.test / "predictions").iterdir():
        found = np.asarray(Image.open(folder / "predictions" / path.name))
        assert (found == np.asarray(Image.open(path))).all()


@pytest.mark.parametrize("value", ["-64", "0", "32", "100", "many", "64.5"])
def test_other_values_are_refused(refusal: Segbench, scenes: Path, value: str):
    line = refusal("fit", "--data.root", scenes, *TINY, f"--data.eval_tile={value}")
    assert line.startswith(f"segbench: data.eval_tile: {value}")
    assert not Path("runs").exists()
