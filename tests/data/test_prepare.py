"""``segbench data prepare``: masks in colour, and the official FloodNet, become data sets."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bombs import png_header
from folders import COLORS, labels, write_data, write_groups
from PIL import Image

Segbench = Callable[..., str]

NAMES = ("a", "b", "v", "t")


@pytest.fixture
def painted(tmp_path: Path) -> Path:
    """Masks of all the kinds that people have, all of the same stripes."""
    root = write_data(tmp_path / "painted", train=["a", "b"], val=["v"], test=["t"])
    write_groups(root, dict(zip(NAMES, "ghij", strict=True)))
    rgb = Image.fromarray(np.array(COLORS, np.uint8)[labels()])
    clear_in_parts = rgb.quantize(16)
    clear_in_parts.info["transparency"] = bytes([0, 255, 255])
    clear = rgb.copy()
    clear.putalpha(0)
    for path, picture in (
        ("train/mask/a.png", rgb),
        ("train/mask/b.png", rgb.quantize(16)),
        ("val/mask/v.png", clear),
        ("test/mask/t.png", clear_in_parts),
    ):
        picture.save(root / path)
    return root


def mask(root: Path, name: str) -> list[list[int]]:
    (path,) = root.glob(f"**/mask/{name}.png")
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image).tolist()


def test_pictures_of_every_kind_become_class_ids(painted: Path, segbench: Segbench):
    out = segbench(
        *("data", "prepare", "colormap", painted),
        *("--colors", painted / "classes.json", "--out", "new"),
    )
    assert out == "new: look it over with: segbench data check new\n"
    for name in NAMES:
        assert mask(Path("new"), name) == labels().tolist()
    for path in painted.glob("*/image/*"):
        assert (Path("new") / path.relative_to(painted)).samefile(path)
    assert (Path("new") / "groups.csv").read_text() == (painted / "groups.csv").read_text()
    assert "fine" in segbench("data", "check", "new")


def test_the_command_that_the_check_prints_does_it(
    painted: Path, segbench: Segbench, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        segbench("data", "check", painted)
    lines = [line for line in capsys.readouterr().out.splitlines() if "convert with: " in line]
    assert len(lines) == 3  # one for each split
    program, *words = shlex.split(lines[0].partition("convert with: ")[2])
    assert program == "segbench"
    segbench(*words)
    assert "fine" in segbench("data", "check", f"{painted}-ids")


def test_a_folder_without_splits_and_grey_masks(tmp_path: Path, segbench: Segbench):
    flat = write_data(tmp_path / "flat", flat=["a", "b"])
    grey = [{"id": k, "name": str(k), "color": [100 * k] * 3} for k in range(3)]
    (flat / "grey.json").write_text(json.dumps(grey))
    for path in flat.glob("mask/*"):
        Image.fromarray(labels() * 100).save(path)
    segbench("data", "prepare", "colormap", flat, "--colors", flat / "grey.json", "--out", "new")
    assert mask(Path("new"), "a") == labels().tolist()
    assert json.loads(Path("new/classes.json").read_text()) == grey


def test_an_unknown_colour_is_named_or_ignored(
    painted: Path, segbench: Segbench, refusal: Segbench
):
    picture = np.array(COLORS, np.uint8)[labels()]
    picture[:2, :5] = (1, 2, 3)
    picture[5, 5] = (9, 9, 9)
    Image.fromarray(picture).save(painted / "val" / "mask" / "v.png")
    command = ("data", "prepare", "colormap", painted, "--colors", painted / "classes.json")
    assert refusal(*command, "--out", "new") == (
        f"segbench: {painted}/val/mask/v.png: 10 px of the colour (1, 2, 3) and 1 other colour, "
        f"which no class of {painted}/classes.json has; add the class, or make such pixels ignore "
        "with --unknown ignore"
    )
    assert not Path("new").exists()
    out = segbench(*command, "--out", "new", "--unknown", "ignore")
    assert out.startswith(
        "11 px of 2 unknown colours are ignore now (most often (1, 2, 3): 10 px)\n"
    )
    expected = labels()
    expected[:2, :5] = expected[5, 5] = 255
    assert mask(Path("new"), "v") == expected.tolist()


def test_what_cannot_be_converted(painted: Path, refusal: Segbench, tmp_path: Path):
    def refused() -> str:
        colors = painted / "classes.json"
        line = refusal("data", "prepare", "colormap", painted, "--colors", colors, "--out", "new")
        assert {path.name for path in tmp_path.iterdir()} == {"painted"}
        return line

    path = painted / "train" / "mask" / "a.png"
    picture = path.read_bytes()
    path.write_bytes(png_header(50_000, 50_000))
    assert f"{path}: not readable as a mask (Image size (2500000000 pixels)" in refused()
    path.write_bytes(picture[:100])
    assert f"{path}: not readable as a mask" in refused()
    Image.new("I;16", (64, 48)).save(path)
    assert f"{path}: a mask of mode I;16" in refused()
    path.write_bytes(picture)
    classes = json.loads((painted / "classes.json").read_text())
    classes[2]["color"] = classes[1]["color"]
    (painted / "classes.json").write_text(json.dumps(classes))
    assert "classes.json: Roof and Pond share the color [200, 30, 30]" in refused()
