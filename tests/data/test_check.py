"""``segbench data check``: all that is wrong is listed, what is fine is not complained about."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from bombs import png_header
from folders import COLORS, labels, photo, write_data, write_groups, write_pair
from numpy.typing import NDArray
from PIL import Image

from segbench.data.check import check_data_set
from segbench.data.dataset import read_data_set
from segbench.data.survey import duplicates
from segbench.data.survey.findings import GROUPS_FOR_A_CLASS, GROUPS_FOR_A_VERDICT
from segbench.errors import InputError

Check = Callable[..., list[str]]

TRAIN, VAL = [f"a{k}" for k in range(8)], ["v0", "v1"]
TEST = [f"t{k}" for k in range(6)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = write_data(tmp_path / "my data", train=TRAIN, val=VAL, test=TEST)
    write_groups(root, {name: f"g{name}" for name in (*TRAIN, *VAL, *TEST)})
    return root


@pytest.fixture
def check(segbench: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the check; gives its problems and remarks, and holds it to its exit code."""

    def lines(*args: object) -> list[str]:
        code = 0
        try:
            out = segbench("data", "check", *args)
        except SystemExit as stop:
            code, out = stop.code, capsys.readouterr().out  # type: ignore[assignment]
        found = [line for line in out.splitlines() if line.startswith(("problem: ", "remark: "))]
        assert code == any(line.startswith("problem: ") for line in found)
        return found

    return lines


def problems(lines: list[str]) -> list[str]:
    return [line.removeprefix("problem: ") for line in lines if line.startswith("problem: ")]


def test_a_data_set_without_flaw_has_none(data: Path, check: Check):
    assert check(data) == []


def test_pixels_and_images_of_each_class(data: Path, segbench: Callable[..., str]):
    mask = np.full((48, 64), 255, np.uint8)
    mask[:10, :10] = 1
    Image.fromarray(mask).save(data / "val" / "mask" / "v0.png")
    out = segbench("data", "check", data, "--json", "check.json")
    val = json.loads(Path("check.json").read_text())["splits"]["val"]
    # the other image: 64 x 48 px, half of them Ground, a quarter Roof and Pond
    assert val["classes"] == {
        "Ground": {"pixels": 1536, "images": 1},
        "Roof": {"pixels": 868, "images": 2},
        "Pond": {"pixels": 768, "images": 1},
    }
    assert val["ignored_pixels"] == 48 * 64 - 100
    assert (val["pairs"], val["groups"], val["sizes"]) == (2, 2, {"64x48": 2})
    (roof,) = (line for line in out.splitlines() if "Roof" in line)
    assert [cell.strip() for cell in roof.split("│")[5:8]] == ["868", "27.36", "2"]
    assert "train: 8 images in 8 groups, 64x48 px" in out


def test_all_that_is_wrong_is_listed(data: Path, check: Check):
    def image(name: str, split: str = "train") -> Path:
        return data / split / "image" / f"{name}.png"

    def mask(name: str, split: str = "train") -> Path:
        return data / split / "mask" / f"{name}.png"

    mask("a0").rename(mask("a0").with_suffix(".JPG"))
    mask("a4").unlink()
    image("a1").unlink()
    image("a2").write_bytes(image("a2").read_bytes()[:500])
    Image.fromarray(labels(50, 48)).save(mask("a3"))
    Image.fromarray(np.full((48, 64), 9, np.uint8)).save(mask("v0", "val"))
    Image.new("I;16", (64, 48)).save(image("v1", "val"))
    for path in (image("t0", "test"), mask("t1", "test")):
        path.write_bytes(png_header(50_000, 50_000))
    Image.fromarray(photo(50)).save(image("t2", "test").with_suffix(".jpg"))
    write_groups(data, dict.fromkeys((*TRAIN, "v0", "t0"), "flight") | {"a7": "other"})
    found = problems(check(data))
    for start, rest in (
        (image("a0"), f"has no mask {mask('a0')}; write a0.JPG as .png, or remove the image"),
        (image("a4"), f"has no mask {mask('a4')}; add it, or remove the image"),
        (mask("a1"), "has no image"),
        (image("a2"), "not readable as an image"),
        (mask("a3"), "is 50x48 px, its image 64x48"),
        (mask("v0", "val"), "holds the ids [9]"),
        (image("v1", "val"), "an image of mode 16 bits"),
        (image("t0", "test"), "not readable as an image (Image size (2500000000 pixels)"),
        (mask("t1", "test"), "not readable as a mask (Image size (2500000000 pixels)"),
        (image("t2", "test"), "has the name of"),
        (data / "groups.csv", "names no group for the image t5"),
        ("groups.csv", "group flight is in train and in val"),
        ("groups.csv", "group flight is in train and in test"),
    ):
        assert [line for line in found if line.startswith(f"{start}: {rest}")], (start, rest)
    assert "no pixel" not in "".join(found)  # who knows what the unread masks hold


def test_what_the_check_finds_fine_fit_takes_and_the_first_problem_is_fits(
    data: Path, check: Check
):
    check_data_set(read_data_set(data))
    Image.fromarray(labels(50, 48)).save(data / "val" / "mask" / "v1.png")
    with pytest.raises(InputError) as refused:
        check_data_set(read_data_set(data))
    assert problems(check(data)) == [str(refused.value)]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_that_is_not_there(data: Path, check: Check, split: str):
    for path in data.glob(f"{split}/*/*"):
        path.unlink()
    (found,) = problems(check(data))
    with pytest.raises(InputError) as refused:
        read_data_set(data)
    assert found.startswith(f"{data / split / 'image'}: no images")
    assert str(refused.value).startswith(f"{data / split / 'image'}: no images")


def test_without_val_one_group_cannot_be_shared(data: Path, check: Check):
    for path in data.glob("val/*/*"):
        path.unlink()
    assert "remark: no val: 20% of train will be held out, by group" in check(data)
    write_groups(data, dict.fromkeys(TRAIN, "one") | {name: name for name in TEST})
    (found,) = problems(check(data))
    assert found.startswith("all 8 training images belong to one group")


@pytest.mark.parametrize("kind", ["RGB", "P"])
def test_masks_in_colour_come_with_the_command_that_converts_them(
    data: Path, check: Check, kind: str
):
    for name in TEST:
        path = data / "test" / "mask" / f"{name}.png"
        Image.fromarray(np.array(COLORS, np.uint8)[labels()]).convert(kind).save(path)
    (found,) = problems(check(data, "--json", "check.json"))
    assert found == (
        f"test: 6 masks in RGB or palette colours where class ids are needed (first: "
        f"{data}/test/mask/t0.png); convert with: segbench data prepare colormap '{data}' "
        f"--colors '{data}/classes.json' --out '{data}-ids'"
    )
    (written,) = json.loads(Path("check.json").read_text())["problems"]
    assert written["files"] == [f"test/mask/t{k}.png" for k in range(6)]


def altered(kind: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    match kind:
        case "again":
            return image
        case "jpeg":
            stream = BytesIO()
            Image.fromarray(image).save(stream, "JPEG", quality=50)
            return np.asarray(Image.open(stream))
        case "half":
            return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        case "brighter":
            return np.clip(image * 1.15 + 5, 0, 255).astype(np.uint8)
        case _:
            return np.ascontiguousarray(image[3:-3, 4:-4])


@pytest.mark.parametrize("kind", ["again", "jpeg", "half", "brighter", "trimmed"])
def test_the_same_image_in_two_splits(data: Path, check: Check, kind: str):
    image = altered(kind, photo(3, 320, 240))
    write_pair(data / "train", "a3", photo(3, 320, 240), labels(320, 240))
    write_pair(data / "test", "t4", image, labels(image.shape[1], image.shape[0]))
    (found,) = problems(check(data, "--json", "check.json"))
    likeness = "the same pixels" if kind == "again" else "near duplicates, "
    assert found.startswith(f"train/image/a3.png, test/image/t4.png: {likeness}")
    (written,) = json.loads(Path("check.json").read_text())["problems"]
    assert written["files"] == ["train/image/a3.png", "test/image/t4.png"]


def test_near_zero_leaves_the_copies_that_share_all_bits(data: Path, check: Check):
    write_pair(data / "train", "a3", photo(3, 320, 240), labels(320, 240))
    write_pair(data / "test", "t4", altered("trimmed", photo(3, 320, 240)), labels(312, 234))
    assert problems(check(data))
    assert not problems(check(data, "--near", 0))


def test_flat_images_are_not_all_alike(data: Path, check: Check):
    """Lakes, fields and empty margins: nothing but noise, or no pixel that differs."""
    rng = np.random.default_rng(0)
    step = np.repeat([0, 1], 160)[None, :, None]  # all the structure there is: one grey level
    for split, name in (("train", "a0"), ("test", "t0")):
        noise = rng.normal(90, 3, (240, 320, 3)).astype(np.uint8)
        write_pair(data / split, name, noise, labels(320, 240))
    for level, split, name in ((90, "train", "a1"), (120, "test", "t1")):
        nearly = np.full((240, 320, 3), level + step, np.uint8)
        write_pair(data / split, name, nearly, labels(320, 240))
    for split, name in (("train", "a2"), ("test", "t2")):
        write_pair(data / split, name, np.full((48, 64, 3), 80, np.uint8), labels())
    assert check(data) == ["remark: 2 images of a single colour (first: train/image/a2.png)"]


def test_copies_within_a_split_are_a_remark_unless_they_share_a_group(data: Path, check: Check):
    write_pair(data / "train", "a5", photo(3), labels())
    (found,) = check(data)
    assert found.startswith("remark: train: 2 images in 1 set of near duplicates (first: train/im")
    write_groups(data, {name: name for name in (*TRAIN, *VAL, *TEST)} | {"a5": "a3"})
    assert check(data) == []


def test_a_class_that_a_split_lacks_and_one_that_none_has(data: Path, check: Check):
    for path in data.glob("*/mask/*.png"):
        mask = labels()
        mask[mask == 2] = 0
        if path.parts[-3] == "val":
            mask[:] = 0
        Image.fromarray(mask).save(path)
    assert check(data) == [
        "problem: val: no pixel of Roof, which train and test have; move a group that shows it to "
        "val",
        "remark: Pond: no pixel anywhere; it will have no score",
    ]


def test_what_is_rare_and_what_is_few(data: Path, check: Check):
    for path in data.glob("*/mask/*.png"):
        mask = labels()
        if path.stem not in ("a0", "t0", "v0"):
            mask[mask == 2] = 0
        if path.stem == "a0":
            mask[mask == 2] = 0
            mask[0, 0] = 2
        Image.fromarray(mask).save(path)
    write_groups(data, {name: name for name in (*TRAIN, *VAL, *TEST)} | {"t1": "t0"})
    assert check(data) == [
        "remark: Pond: rare, 0.00% of the pixels of train, in 1 image",
        "remark: Pond: in 1 group of test; segbench compare gives no verdict on a class below 3",
        "remark: test: 5 groups; below 6 the verdicts of segbench compare hold for this test set "
        "only",
    ]


def test_files_that_nobody_reads_and_names_that_nobody_has(data: Path, check: Check):
    (data / "train" / "image" / "scan.tif").write_bytes(b"")
    (data / "groups.csv").write_text((data / "groups.csv").read_text() + "moon,far\n")
    folder = data / "train" / "image"
    assert check(data) == [
        f"remark: {folder}: 1 file other than .jpg|.jpeg|.png not read (first: scan.tif)",
        "remark: groups.csv: 1 image that the data set has not (first: moon)",
    ]
    (data / "groups.csv").unlink()
    assert any(line.startswith("remark: no groups.csv") for line in check(data))


def test_a_name_with_a_line_break_is_one_line(data: Path, check: Check):
    (data / "train" / "mask" / "a0.png").rename(data / "train" / "mask" / "a\n0.png")
    assert len(problems(check(data))) == 2


def test_the_sheet_shows_each_image_beside_itself_under_its_mask(
    data: Path, segbench: Callable[..., str]
):
    write_pair(data / "val", "v0", np.full((48, 64, 3), 100, np.uint8), labels())
    segbench("data", "check", data, "--sheet", "sheet.png")
    sheet = np.asarray(Image.open("sheet.png"))
    # three pairs of 192 px cells and 4 px gaps in a row; a title, then two rows of train
    left, top = 6, 2 * 24 + 2 * 196
    cell = sheet[top : top + 196, left : left + 2 * 196]
    assert sheet.shape[1] == 6 * 196
    assert (cell[90, 40] == 100).all()
    for x, color in ((200, COLORS[0]), (310, COLORS[1]), (370, COLORS[2])):
        assert np.abs(cell[90, x].astype(int) - [(100 + part) / 2 for part in color]).max() <= 1


def test_what_cannot_be_checked(
    data: Path, refusal: Callable[..., str], check: Check, tmp_path: Path
):
    assert "not a folder" in refusal("data", "check", tmp_path / "nowhere")
    assert "a.gif: give a name in .png or .jpg or .jpeg" in refusal(
        "data", "check", data, "--sheet", "a.gif"
    )
    assert "no/x.json: no is not a folder" in refusal("data", "check", data, "--json", "no/x.json")
    assert "give 0 to 126 bits" in refusal("data", "check", data, "--near", 200)
    (data / "classes.json").write_text("[")
    assert "classes.json: not readable as JSON" in refusal("data", "check", data)
    flat = write_data(tmp_path / "flat", flat=["a", "b"])
    line = refusal("data", "check", flat)
    assert line.endswith(f"no split; first: segbench data split {flat} --out {flat}-split")
    assert "no images" in refusal("data", "check", write_data(tmp_path / "none"))


def test_close_hashes_are_those_that_counting_bits_finds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duplicates, "_BLOCK", 3)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (10, 4), dtype=np.uint64)
    hashes[7] = hashes[1] ^ np.uint64(0b1011)  # twelve bits, three in each number
    hashes[8] = hashes[7]
    expected = {
        (
            i,
            j,
            sum((int(a) ^ int(b)).bit_count() for a, b in zip(hashes[i], hashes[j], strict=True)),
        )
        for i in range(10)
        for j in range(i + 1, 10)
    }
    for bits in (0, 11, 12, 125):
        found = {tuple(row) for row in duplicates.pairs_within(hashes, bits).tolist()}
        assert found == {pair for pair in expected if pair[2] <= bits}
    assert {(1, 7, 12), (1, 8, 12), (7, 8, 0)} <= expected


def test_what_hangs_together():
    assert duplicates.clusters(7, [(0, 4), (5, 2), (4, 6)]) == [[0, 4, 6], [2, 5]]
    assert duplicates.clusters(3, []) == []


def test_the_check_and_the_verdicts_count_groups_alike():
    from segbench.analysis.compare import FEWEST_GROUPS_OF_A_CLASS
    from segbench.analysis.stats import FEWEST_GROUPS

    assert GROUPS_FOR_A_VERDICT == FEWEST_GROUPS
    assert GROUPS_FOR_A_CLASS == FEWEST_GROUPS_OF_A_CLASS
