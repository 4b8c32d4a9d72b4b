"""Networks learn: each fits two images, and a UNet reaches what the scenes were made for."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.data.synthetic import generate
from segbench.runs import RunFolder

CONFIGS = Path(__file__).parents[2] / "configs"
Segbench = Callable[..., str]


@pytest.fixture
def two_images(tmp_path: Path) -> Path:
    """Three classes in blocks of 32 px: a map of stride 16 can draw them."""
    rng = np.random.default_rng(0)
    root = tmp_path / "blocks"
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        for kind in ("image", "mask"):
            (root / split / kind).mkdir(parents=True)
        for i in range(count):
            mask = rng.permutation(np.arange(16) % 3).reshape(4, 4).astype(np.uint8)
            mask = mask.repeat(32, 0).repeat(32, 1)
            image = 60 * mask[..., None] + rng.integers(0, 60, (128, 128, 3))
            Image.fromarray(image.astype(np.uint8)).save(root / split / "image" / f"{split}{i}.png")
            Image.fromarray(mask).save(root / split / "mask" / f"{split}{i}.png")
    classes = [{"id": k, "name": f"c{k}", "color": [80 * k, 0, 0]} for k in range(3)]
    (root / "classes.json").write_text(json.dumps(classes))
    return root


@pytest.mark.parametrize(
    "config", ["unet", "deeplab_resnet18", "deeplab_vgg11", "deeplab_mobilenetv3"]
)
def test_each_network_fits_two_images(config: str, segbench: Segbench, two_images: Path):
    segbench(
        *("fit", "--config", CONFIGS / f"{config}.yaml", "--data.root", two_images),
        *("--data.augmentation=none", "--data.crop_size=128", "--data.batch_size=2"),
        *("--data.samples_per_epoch=40", "--trainer.max_epochs=4", "--run_dir=runs/two"),
        *(("--model.width=8",) if config == "unet" else ("--model.width=64",)),
    )
    last = RunFolder(Path("runs/two")).read_metrics()[-1]
    assert last["train_clean/mean_iou"] > 0.95


@pytest.mark.slow
def test_a_small_unet_learns_the_scenes_but_not_all_of_them(segbench: Segbench, tmp_path: Path):
    """Five to twelve minutes on two cores: between 0.55 and 0.85."""
    root = tmp_path / "scenes"
    generate(root, train=48, val=12, test=24, size=256, seed=0)
    segbench(
        *("fit", "--config", CONFIGS / "unet.yaml", "--data.root", root, "--model.width=16"),
        *("--data.crop_size=128", "--data.samples_per_epoch=1152", "--trainer.max_epochs=10"),
        "--run_dir=runs/small",
    )
    run = RunFolder(Path("runs/small"))
    record = run.read_record()
    assert 0.55 < record["scores"]["test"]["mean_iou"] < 0.85
    counts = run.read_counts().counts.sum(0).astype(float)
    share = counts / counts.sum(1, keepdims=True)
    background, building, road, water, tree, _, pool, grass = range(8)
    # the confusions the scenes were made for do occur: shares of the true class
    assert share[water, [road, background, grass]].sum() > 0.02
    assert share[building, [road, water, background]].sum() > 0.02
    assert share[pool, background] > 0.02  # rims
    assert share[tree, grass] > 0.02
