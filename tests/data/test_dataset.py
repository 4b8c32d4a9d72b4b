"""The data set on disk: pairs, groups, splits, folds, and what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.data.check import check_data_set
from segbench.data.classes import IGNORE
from segbench.data.dataset import SPLITS, read_data_set, read_image, read_mask
from segbench.errors import InputError

Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Makes a data set of constant images of mixed sizes; ``groups`` gives images' groups."""

    def made(groups: dict[str, str] | None = None, **splits: list[str]) -> Path:
        root = tmp_path / "data"
        for split, names in splits.items():
            for kind in ("image", "mask"):
                (root / split / kind).mkdir(parents=True)
            for i, name in enumerate(names):
                shape = (20 + i, 30 + 2 * i)
                rgb = np.full((*shape, 3), 10 * i, np.uint8)
                Image.fromarray(rgb).save(root / split / "image" / f"{name}.png")
                Image.fromarray(np.full(shape, i % 2, np.uint8)).save(
                    root / split / "mask" / f"{name}.png"
                )
        classes = [{"id": k, "name": f"c{k}", "color": [k, 0, 0]} for k in range(2)]
        (root / "classes.json").write_text(json.dumps(classes))
        if groups is not None:
            rows = [f"{image},{group}" for image, group in groups.items()]
            (root / "groups.csv").write_text("\n".join(["image,group", *rows]))
        return root

    return made


def names(pairs: object) -> list[str]:
    return [pair.name for pair in pairs]  # type: ignore[attr-defined]


def test_splits_and_groups_are_read_in_the_order_of_names(make: Maker):
    groups = {"b": "g1", "a": "g1", "c": "g2", "d": "g3"}
    data = read_data_set(make(groups, train=["b", "a"], val=["c"], test=["d"]))
    assert [names(split) for split in (data.train, data.val, data.test)] == [
        ["a", "b"],
        ["c"],
        ["d"],
    ]
    assert [pair.group for pair in data.train] == ["g1", "g1"]
    assert [c.name for c in data.classes] == ["c0", "c1"]


def test_without_val_whole_groups_are_held_out_of_train(make: Maker):
    train = [f"i{k:02d}" for k in range(20)]
    groups = {name: f"flight{k // 4}" for k, name in enumerate(train)} | {"t": "other"}
    data = read_data_set(make(groups, train=train, test=["t"]))
    assert len(data.val) == 4  # a fifth: one flight of five
    assert len({pair.group for pair in data.val}) == 1
    assert not {pair.group for pair in data.val} & {pair.group for pair in data.train}
    assert sorted(names(data.train) + names(data.val)) == train


def test_each_group_is_tested_in_exactly_one_fold(make: Maker):
    train = [f"i{k:02d}" for k in range(12)]
    groups = {name: f"g{k // 2}" for k, name in enumerate(train)}
    root = make(groups, train=train[:8], val=train[8:10], test=train[10:])
    tested: list[str] = []
    for fold in range(3):
        data = read_data_set(root, folds=3, fold=fold)
        sides = [{pair.group for pair in split} for split in (data.train, data.val, data.test)]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 6
        assert all(sides)
        assert len(data.test) == 4
        tested += names(data.test)
    assert sorted(tested) == train


@pytest.mark.parametrize(
    ("folds", "fold", "complaint"),
    [(5, 0, "5 folds of 4 groups"), (1, 0, "1 folds"), (3, 3, "data.fold: 3 of 3")],
)
def test_folds_that_cannot_be_are_refused(make: Maker, folds: int, fold: int, complaint: str):
    root = make({"a": "1", "b": "2", "c": "3", "d": "4"}, train=["a", "b", "c"], test=["d"])
    with pytest.raises(InputError, match=complaint):
        read_data_set(root, folds, fold)


def test_a_group_on_both_sides_is_refused(make: Maker):
    root = make({"a": "g", "b": "h", "c": "g"}, train=["a", "b"], test=["c"])
    with pytest.raises(InputError, match="group g is in train and in test"):
        read_data_set(root)


def test_the_same_name_in_two_splits_is_two_images_unless_folds_mix_them(make: Maker):
    root = make(train=["0", "1", "2"], val=["0"], test=["0"])
    assert names(read_data_set(root).test) == ["0"]
    with pytest.raises(InputError, match="has the name of"):
        read_data_set(root, folds=2)


def test_an_image_without_a_mask_and_one_without_a_group_are_refused(make: Maker):
    root = make({"a": "g", "b": "h", "t": "k"}, train=["a", "b"], test=["t"])
    (root / "groups.csv").write_text("image,group\na,g\nt,k\n")
    with pytest.raises(InputError, match=r"groups\.csv: names no group for the image b"):
        read_data_set(root)
    (root / "train" / "mask" / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png: has no mask .*mask/a\.png"):
        read_data_set(root)


@pytest.mark.parametrize("missing", ["train", "test"])
def test_an_empty_split_is_refused(make: Maker, missing: str):
    root = make(**{split: [f"{split}{k}" for k in range(3)] for split in SPLITS})
    for file in (root / missing).rglob("*.png"):
        file.unlink()
    with pytest.raises(InputError, match=rf"{missing}/image: no images"):
        read_data_set(root)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "not readable as JSON"),
        ("[]", "ids must be 0, 1"),
        ('{"id": 0}', "must be a list"),
        ('[{"id": 0, "name": "a"}]', "must be a list.*color"),
        ('[{"id": 0, "name": "a", "color": [0, 0, 256]}]', "must be a list.*256"),
        ('[{"id": 1, "name": "a", "color": [0, 0, 0]}]', r"ids must be .* but are \[1\]"),
        (
            '[{"id": 0, "name": "a", "color": [0,0,0]}, {"id": 1, "name": "a", "color": [0,0,0]}]',
            "share a name",
        ),
    ],
)
def test_a_classes_file_that_says_nothing_clear_is_refused(make: Maker, text: str, complaint: str):
    root = make(train=["a", "b"], test=["t"])
    (root / "classes.json").write_text(text)
    with pytest.raises(InputError, match=complaint):
        read_data_set(root)


def test_grey_images_are_read_as_three_equal_channels(tmp_path: Path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png") == grey[..., None]).all()


def test_images_are_rgb_and_not_turned_by_the_cameras_tag(tmp_path: Path):
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[:, :2] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees when shown"
    Image.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    assert (read_image(tmp_path / "turned.png") == rgb).all()


def test_masks_of_colour_or_palette_are_refused(tmp_path: Path):
    for mode in ("RGB", "P", "I;16"):
        Image.new(mode, (4, 4)).save(tmp_path / "mask.png")
        with pytest.raises(InputError, match=rf"mask\.png: a mask of mode {mode}"):
            read_mask(tmp_path / "mask.png")


def test_the_check_finds_a_wrong_size_and_an_unknown_id(make: Maker):
    root = make(train=["a", "b"], val=["v"], test=["t"])
    check_data_set(read_data_set(root))
    mask = root / "val" / "mask" / "v.png"
    Image.fromarray(np.full((20, 30), IGNORE, np.uint8)).save(mask)
    check_data_set(read_data_set(root))
    Image.fromarray(np.full((20, 30), 2, np.uint8)).save(mask)
    with pytest.raises(InputError, match=r"v\.png: holds the ids \[2\], classes.json has 0\.\.1"):
        check_data_set(read_data_set(root))
    Image.fromarray(np.zeros((30, 20), np.uint8)).save(mask)
    with pytest.raises(InputError, match=r"v\.png: is 20x30 px, its image 30x20"):
        check_data_set(read_data_set(root))


def test_the_fingerprint_is_the_same_in_every_process(make: Maker):
    """Also where splits share names, which say nothing about their order then."""
    root = make(train=["0", "1", "2"], val=["0", "1"], test=["0", "2"])
    code = f"""if True:
        from pathlib import Path
        from segbench.data.dataset import read_data_set
        print(read_data_set(Path({str(root)!r})).fingerprint)"""
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(seen) == 1


def test_groups_from_a_spreadsheet_and_groups_half_given(make: Maker):
    root = make({"a": "g", "b": "h", "t": "k"}, train=["a", "b"], test=["t"])
    groups = root / "groups.csv"
    groups.write_text(groups.read_text(), encoding="utf-8-sig")
    assert [pair.group for pair in read_data_set(root, folds=3).test]
    groups.write_text("image,group\na,g\nb\nt,k\n")
    with pytest.raises(InputError, match=r"groups\.csv: line 3 lacks"):
        read_data_set(root)
    groups.write_bytes("image,group\nä,g\n".encode("latin-1"))
    with pytest.raises(InputError, match="not readable as UTF-8"):
        read_data_set(root)


def test_the_fingerprint_knows_content_and_not_place(make: Maker, tmp_path: Path):
    root = make(train=["a", "b"], val=["v"], test=["t"])
    before = read_data_set(root).fingerprint
    moved = root.rename(tmp_path / "elsewhere")
    assert read_data_set(moved).fingerprint == before
    Image.fromarray(np.ones((20, 30), np.uint8)).save(moved / "val" / "mask" / "v.png")
    assert read_data_set(moved).fingerprint != before
