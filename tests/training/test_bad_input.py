"""Bad data, through ``segbench fit``: one line, exit 2, the culprit named, nothing half written."""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.runs import RunFolder

Segbench = Callable[..., str]

TINY = (
    *("--model.width=8", "--data.crop_size=48", "--data.samples_per_epoch=4"),
    *("--data.batch_size=2", "--trainer.max_epochs=1"),
)


@pytest.fixture
def data(scenes: Path, tmp_path: Path) -> Path:
    """A copy of the scenes to spoil."""
    return Path(shutil.copytree(scenes, tmp_path / "spoilt"))


@pytest.fixture
def fit_refuses(data: Path, refusal: Segbench) -> Callable[..., str]:
    def refused(*args: str) -> str:
        line = refusal("fit", "--data.root", data, *TINY, *args)
        assert not Path("runs").exists()
        return line

    return refused


def image(data: Path, split: str = "train", number: int = 0) -> Path:
    return sorted((data / split / "image").iterdir())[number]


def mask(data: Path, split: str = "train", number: int = 0) -> Path:
    return sorted((data / split / "mask").iterdir())[number]


def test_no_pairs(data: Path, fit_refuses: Segbench):
    for kind in ("image", "mask"):
        shutil.rmtree(data / "train" / kind)
    assert "train/image: no images" in fit_refuses()


def test_an_image_without_its_mask(data: Path, fit_refuses: Segbench):
    mask(data, "val").unlink()
    line = fit_refuses()
    assert f"{image(data, 'val')}: has no mask" in line
    assert "add it, or remove the image" in line


def test_a_mask_without_its_image(data: Path, fit_refuses: Segbench):
    image(data, "test").unlink()
    line = fit_refuses()
    assert f"{mask(data, 'test')}: has no image" in line
    assert "add it or remove the mask" in line


def test_sizes_that_differ(data: Path, fit_refuses: Segbench):
    Image.fromarray(np.zeros((96, 95), np.uint8)).save(mask(data, "val"))
    assert f"{mask(data, 'val')}: is 95x96 px, its image 96x96" in fit_refuses()


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_a_mask_in_colour(data: Path, fit_refuses: Segbench, mode: str):
    Image.new(mode, (96, 96)).save(mask(data, "test"))
    line = fit_refuses()
    assert f"{mask(data, 'test')}: a mask of mode {mode}" in line
    assert "single-channel 8-bit" in line


def test_an_id_outside_the_classes(data: Path, fit_refuses: Segbench):
    ids = np.zeros((96, 96), np.uint8)
    ids[0, 0] = 8
    Image.fromarray(ids).save(mask(data, number=3))
    line = fit_refuses()
    assert f"{mask(data, number=3)}: holds the ids [8], classes.json has 0..7" in line


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits(data: Path, fit_refuses: Segbench, channels: int):
    import cv2

    path = image(data)
    path.unlink()
    deep = np.full((96, 96, channels), 40_000, np.uint16)
    assert cv2.imwrite(str(path.with_suffix(".png")), deep)
    line = fit_refuses()
    assert f"{path.with_suffix('.png')}: an image of mode" in line
    assert "8 bits per channel" in line


def test_grey_images_are_fine(data: Path, segbench: Segbench):
    Image.open(image(data)).convert("L").save(image(data))
    segbench("fit", "--data.root", data, *TINY)


def test_a_truncated_jpeg(data: Path, fit_refuses: Segbench):
    path = image(data, "test", 2)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    line = fit_refuses()
    assert f"{path}: not readable as an image" in line
    assert "replace it" in line


def test_classes_with_a_gap(data: Path, fit_refuses: Segbench):
    classes = json.loads((data / "classes.json").read_text())
    (data / "classes.json").write_text(json.dumps(classes[:3] + classes[4:]))
    assert f"{data / 'classes.json'}: ids must be 0, 1, ..." in fit_refuses()


def test_a_group_in_two_splits(data: Path, fit_refuses: Segbench):
    rows = [f"{path.stem},one" for path in data.glob("*/image/*")]
    (data / "groups.csv").write_text("\n".join(["image,group", *rows]))
    assert "group one is in train and in val" in fit_refuses()


def test_folds_without_enough_groups(fit_refuses: Segbench):
    assert "data.folds: 12 folds of 11 groups cannot be" in fit_refuses("--data.folds=12")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--data.fold=1",), "data.fold: 1 of no folds; set data.folds too"),
        (("--data.samples_per_epoch=1",), "data.samples_per_epoch: 1 crops are not one batch"),
        (("--data.crop_size=0",), "data.crop_size: 0; give 1 or more"),
        (("--data.samples_per_epoch=0",), "data.samples_per_epoch: 0; give 1 or more"),
        (("--data.train_clean_images=-1",), "data.train_clean_images: -1; give 1 or more"),
        (("--seed_everything=-1",), "seed_everything: -1; give a number from 0"),
        (("--model.lr=-1",), "model.lr: -1"),
        (("--model.width=0",), "model.width: 0; give numbers from 1 on"),
        (("--model.width=much",), "model.width: much is no int or null"),
        (("--trainer.precision=8",), "bf16-mixed"),
        (("--trainer.max_steps=5",), "trainer.max_steps: 5; a run counts whole epochs"),
        (("--trainer.num_sanity_val_steps=2",), "scores whole splits: leave it at 0"),
        (("--trainer.overfit_batches=1",), "trainer.overfit_batches: 1"),
        (("--trainer.limit_train_batches=0",), "trainer.limit_train_batches: 0"),
        (("--trainer.limit_val_batches=0",), "whole splits: leave it at null"),
        (("--trainer.limit_test_batches=0.1",), "trainer.limit_test_batches: 0.1; a run counts"),
        (("--trainer.max_epochs=-1",), "trainer.max_epochs: give 1 or more"),
        (("--trainer.accelerator=gpu",), "trainer:"),
        (("--trainer.accelerator=cpu", "--trainer.devices=0"), "trainer"),
        (
            ("--model.architecture=segformer", "--model.backbone=nope", "--model.width=null"),
            "model.backbone: Segformer cannot be built on 'nope'",
        ),
        (
            ("--model.architecture=deeplab", "--model.backbone=plain"),
            "plain is the UNet's own",
        ),
        (("--data.augmentation=ful",), "did you mean full?"),
        (("--model.output_stride=12",), "model.output_stride: 12 is none of 8, 16, 32"),
        (
            ("--model.architecture=upernet", "--model.width=null", "--data.batch_size=1"),
            "data.batch_size: this network's batch norm needs more than one crop",
        ),
    ],
)
def test_keys_that_cannot_be(
    refusal: Segbench, scenes: Path, arguments: tuple[str, ...], complaint: str
):
    assert complaint in refusal("fit", "--data.root", scenes, *TINY, *arguments)


def test_more_processes_than_images(
    process: Callable[..., subprocess.CompletedProcess[str]], scenes: Path, tmp_path: Path
):
    done = process(
        *("fit", "--data.root", scenes, *TINY, "--trainer.accelerator=cpu"),
        *("--trainer.devices=3", "--trainer.strategy=ddp"),
    )
    assert done.returncode == 2
    said = "trainer.devices: 3 processes cannot share the 2 images of val; use fewer"
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model: [", "over.yaml: not readable as YAML"),
        ("modle: {width: 8}", "modle.width: no such key; did you mean model.width?"),
        ("data: {crop_sise: 8}", "data.crop_sise: no such key; did you mean data.crop_size?"),
        ("data: {crop_size: much}", "data.crop_size: much is no int"),
    ],
)
def test_a_configuration_that_says_nothing_clear(
    fit_refuses: Segbench, tmp_path: Path, text: str, complaint: str
):
    (tmp_path / "over.yaml").write_text(text)
    assert complaint in fit_refuses("--config", str(tmp_path / "over.yaml"))


def test_a_crop_larger_than_the_images_is_padded_and_said_once(
    segbench: Segbench, scenes: Path, capsys: pytest.CaptureFixture[str]
):
    """capsys belongs to the fixture too; what it read of stdout leaves stderr to us."""
    import contextlib
    import io

    with contextlib.redirect_stderr(io.StringIO()) as err:
        segbench("fit", "--data.root", scenes, *TINY, "--data.crop_size=128")
    said = [line for line in err.getvalue().splitlines() if "padded" in line]
    assert said == [
        "segbench: 6 of 6 training images are smaller than data.crop_size=128; their crops are "
        "padded with ignore"
    ]


def test_a_batch_of_one_trains_with_aspp(segbench: Segbench, scenes: Path):
    segbench(
        *("fit", "--data.root", scenes, *TINY, "--data.batch_size=1"),
        *("--model.architecture=deeplab", "--model.backbone=mobilenet_v3_small"),
    )


NAMES = ("with space", "quo'te\"", "снимок 1", "line\nbreak", "comma,=1+1", "-dash", "<b>&amp;")


def test_odd_names_come_through(data: Path, segbench: Segbench):
    names = [*NAMES]
    for old, name in zip(sorted(data.glob("*/image/*")), names, strict=False):
        new_mask = old.parents[1] / "mask" / f"{name}.png"
        (old.parents[1] / "mask" / f"{old.stem}.png").rename(new_mask)
        old.rename(old.with_name(f"{name}.jpg"))
    tested = {path.stem for path in (data / "test" / "image").iterdir()}
    assert len(tested & set(NAMES)) == 3
    home = data.rename(data.with_name("my 'data' снимки"))
    segbench("fit", "--data.root", home, *TINY, "--run_dir", 'ru ns/ce\'ll "1"')
    run = RunFolder(Path('ru ns/ce\'ll "1"'))
    assert set(run.read_counts().images) == tested
    assert {path.stem for path in (run.test / "predictions").iterdir()} == tested
    assert "ce'll" in segbench("runs", "ru ns")


def test_a_file_where_the_runs_should_go(refusal: Segbench, scenes: Path):
    Path("runs").write_text("mine")
    line = refusal("fit", "--data.root", scenes, *TINY)
    assert "runs" in line
    assert "write elsewhere" in line
    assert Path("runs").read_text() == "mine"


def test_a_disk_that_takes_no_more(scenes: Path, tmp_path: Path):
    """A limit on the size of files stands for a full disk: the checkpoint does not fit."""
    done = subprocess.run(
        [sys.executable, "-m", "segbench", "fit", "--data.root", scenes, *TINY, "--run_dir=r/x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("segbench:"))
    assert "ckpt: File too large; free space, ask for access, or write elsewhere" in line
    assert "Traceback" not in done.stderr
    run = RunFolder(tmp_path / "r" / "x")
    assert run.read_record()["status"] == "failed"
    assert list(run.path.rglob(".*")) == []
    assert list(run.checkpoints.iterdir()) == []


def test_the_check_is_remembered_by_content(
    data: Path, segbench: Segbench, monkeypatch: pytest.MonkeyPatch
):
    from segbench.data import check

    looked_at = []
    problem = check._problem
    monkeypatch.setattr(
        check, "_problem", lambda pair, classes: looked_at.append(pair) or problem(pair, classes)
    )
    # content that no other test has checked
    Image.fromarray(np.full((96, 96), 7, np.uint8)).save(mask(data))
    for expected in (11, 11):  # all of them once, and none of them again
        segbench("fit", "--data.root", data, *TINY)
        assert len(looked_at) == expected
    Image.fromarray(np.full((96, 96), 6, np.uint8)).save(mask(data))
    segbench("fit", "--data.root", data, *TINY, "--run_dir=runs/other/cell")
    assert len(looked_at) == 22
