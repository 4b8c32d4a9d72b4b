"""``segbench data split``: whole groups, even classes, nothing lost, nothing overwritten."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folders import labels, write_data, write_groups
from PIL import Image

from segbench.data.dataset import read_data_set

Segbench = Callable[..., str]

NAMES = [f"i{k:02d}" for k in range(18)]


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """18 images in 9 flights."""
    root = write_data(tmp_path / "flat", flat=NAMES)
    write_groups(root, {name: f"flight{k // 2}" for k, name in enumerate(NAMES)})
    return root


def placed(root: Path) -> dict[str, list[str]]:
    """The names of the images of each split, by the folders."""
    return {
        split: sorted(path.stem for path in (root / split / "image").glob("*"))
        for split in ("train", "val", "test")
    }


def test_every_image_once_and_every_group_whole(flat: Path, segbench: Segbench):
    out = segbench("data", "split", flat, "--out", "new")
    splits = placed(Path("new"))
    assert sorted(name for names in splits.values() for name in names) == NAMES
    assert {split: len(names) for split, names in splits.items()} == {
        "train": 12,
        "val": 2,
        "test": 4,
    }
    assert out.splitlines()[:3] == [
        "train: 12 images in 6 groups",
        "val: 2 images in 1 group",
        "test: 4 images in 2 groups",
    ]
    read_data_set(Path("new"))  # which refuses a group in two splits
    for kind in ("image", "mask"):
        for path in Path("new").glob(f"*/{kind}/*"):
            assert path.read_bytes() == (flat / kind / path.name).read_bytes()
    assert "fine, 1 remark" in segbench("data", "check", "new")  # 2 groups in test


def test_what_lies_in_train_alone_is_split_too(flat: Path, segbench: Segbench):
    (flat / "train").mkdir()
    for kind in ("image", "mask"):
        (flat / kind).rename(flat / "train" / kind)
    segbench("data", "split", flat, "--out", "new")
    assert {split: len(names) for split, names in placed(Path("new")).items()} == {
        "train": 12,
        "val": 2,
        "test": 4,
    }


def test_without_groups_each_image_is_its_own(flat: Path, segbench: Segbench):
    (flat / "groups.csv").unlink()
    segbench("data", "split", flat, "--out", "new", "--val", 0.5, "--test", 1 / 3)
    assert {split: len(names) for split, names in placed(Path("new")).items()} == {
        "train": 3,
        "val": 9,
        "test": 6,
    }


def test_the_same_seed_is_the_same_split(flat: Path, segbench: Segbench):
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        segbench("data", "split", flat, "--out", name, "--seed", seed)
    assert placed(Path("one")) == placed(Path("two")) != placed(Path("other"))


@pytest.mark.parametrize("seed", range(4))
def test_a_class_of_three_flights_comes_into_each_split(flat: Path, segbench: Segbench, seed: int):
    """By chance that happens in 2 x 6 of 84 ways to lay three among 6, 1 and 2 of nine."""
    for k, name in enumerate(NAMES):
        mask = labels()
        if k // 2 not in (0, 4, 5):
            mask[mask == 2] = 0
        Image.fromarray(mask).save(flat / "mask" / f"{name}.png")
    out = segbench("data", "split", flat, "--out", "new", "--seed", seed)
    with_pond = {
        split: sum(
            int((np.asarray(Image.open(f"new/{split}/mask/{name}.png")) == 2).any())
            for name in names
        )
        for split, names in placed(Path("new")).items()
    }
    assert with_pond == {"train": 2, "val": 2, "test": 2}
    assert "  Pond: 33 / 33 / 33" in out.splitlines()


def test_groups_of_unequal_size_come_close_to_the_shares(flat: Path, segbench: Segbench):
    sizes = {"a": 8, "b": 4, "c": 3, "d": 2, "e": 1}
    owners = [group for group, size in sizes.items() for _ in range(size)]
    write_groups(flat, dict(zip(NAMES, owners, strict=True)))
    segbench("data", "split", flat, "--out", "new", "--val", 1 / 6, "--test", 1 / 6)
    assert {split: len(names) for split, names in placed(Path("new")).items()} == {
        "train": 12,
        "val": 3,
        "test": 3,
    }


def test_without_val_the_rest_is_train(flat: Path, segbench: Segbench):
    segbench("data", "split", flat, "--out", "new", "--val", 0)
    assert {split: len(names) for split, names in placed(Path("new")).items()} == {
        "train": 14,
        "val": 0,
        "test": 4,
    }


def test_files_are_linked_where_they_can_be_and_copied_where_not(
    flat: Path, segbench: Segbench, monkeypatch: pytest.MonkeyPatch
):
    def none(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    segbench("data", "split", flat, "--out", "linked")
    segbench("data", "split", flat, "--out", "copied", "--copy")
    monkeypatch.setattr(os, "link", none)
    segbench("data", "split", flat, "--out", "far")
    for root, linked in (("linked", True), ("copied", False), ("far", False)):
        (path,) = Path(root).glob("*/image/i00.png")
        assert path.samefile(flat / "image" / "i00.png") == linked
        assert path.read_bytes() == (flat / "image" / "i00.png").read_bytes()
        assert not (Path(root) / "groups.csv").samefile(flat / "groups.csv")


def test_what_is_refused_leaves_nothing_behind(flat: Path, refusal: Segbench, tmp_path: Path):
    def refused(*args: object) -> str:
        line = refusal("data", "split", flat, "--out", "new", *args)
        assert not Path("new").exists()
        assert {path.name for path in tmp_path.iterdir()} <= {"flat", "used"}
        return line

    assert "--val 0.9" in refused("--val", 0.9)
    assert "--test 0.0" in refused("--test", 0)
    assert "--seed -1" in refused("--seed", -1)
    write_groups(flat, {name: f"side{k % 2}" for k, name in enumerate(NAMES)})
    assert "2 groups cannot be shared by train and val and test" in refused()
    write_groups(flat, dict.fromkeys(NAMES[1:], "a"))
    assert f"{flat}/groups.csv: names no group for the image i00" in refused()
    (flat / "groups.csv").unlink()
    Image.new("RGB", (64, 48)).save(flat / "image" / "i00.jpg")
    assert f"{flat}/image/i00.png: has the name of {flat}/image/i00.jpg" in refused()
    (flat / "image" / "i00.jpg").unlink()
    Image.new("RGB", (64, 48)).save(flat / "mask" / "i03.png")
    assert f"{flat}/mask/i03.png: a mask of mode RGB" in refused()
    (flat / "mask" / "i03.png").unlink()
    assert f"{flat}/image/i03.png: has no mask" in refused()
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    (flat / "image" / "i03.png").unlink()
    line = refusal("data", "split", flat, "--out", "used")
    assert (
        line == f"segbench: {tmp_path}/used: already in use; name a new or empty folder, or "
        "delete it first"
    )
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["notes.txt"]


def test_what_is_split_already_and_what_is_empty(refusal: Segbench, tmp_path: Path):
    split = write_data(tmp_path / "split", train=["a"], test=["b"])
    line = refusal("data", "split", split, "--out", "new")
    assert "already has images in train/image, test/image; only" in line
    empty = write_data(tmp_path / "empty")
    assert "no images (*.jpg, *.png) in image/ or" in refusal("data", "split", empty, "--out", "n")
