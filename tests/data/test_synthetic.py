"""Synthetic scenes: what is written is what was painted, and colour alone does not solve it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segbench.data.classes import SegmentationClass, read_classes
from segbench.data.contact_sheet import contact_sheet
from segbench.data.synthetic import CLASSES, generate, paint_scene
from segbench.errors import InputError

Scene = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def scene(seed: int, number: int, height: int = 256, width: int = 256) -> Scene:
    return paint_scene(np.random.default_rng([seed, number]), height, width)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(0, number) for number in range(72)]


def test_same_seed_same_scene() -> None:
    for first, second in zip(scene(3, 1), scene(3, 1), strict=True):
        np.testing.assert_array_equal(first, second)


def test_another_seed_or_number_another_scene() -> None:
    image, mask = scene(3, 1)
    for other_image, other_mask in (scene(4, 1), scene(3, 2)):
        assert np.mean(image != other_image) > 0.5
        assert np.mean(mask != other_mask) > 0.2


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 300), (512, 131)])
def test_any_size_from_64(height: int, width: int) -> None:
    for number in range(10):
        image, mask = scene(0, number, height, width)
        assert image.shape == (height, width, 3)
        assert mask.shape == (height, width)
        assert image.dtype == mask.dtype == np.uint8


def test_a_larger_scene_shows_more_objects_of_the_same_size() -> None:
    def vehicles_and_their_area(size: int) -> tuple[int, float]:
        areas = []
        for number in range(4):
            mask = scene(0, number, size, size)[1]
            _, _, stats, _ = cv2.connectedComponentsWithStats((mask == 5).astype(np.uint8))
            areas += stats[1:, cv2.CC_STAT_AREA].tolist()
        return len(areas), float(np.median(areas))

    small_count, small_area = vehicles_and_their_area(256)
    large_count, large_area = vehicles_and_their_area(512)
    assert large_count > 2 * small_count
    assert large_area == pytest.approx(small_area, rel=0.25)


def test_every_class_and_no_other_occurs(scenes: list[Scene]) -> None:
    masks = np.stack([mask for _, mask in scenes[:48]])
    share = np.bincount(masks.ravel(), minlength=256) / masks.size
    assert share[:8].min() > 0.003
    assert share[:8].sum() == pytest.approx(1)


def test_colour_alone_does_not_give_the_class_away(scenes: list[Scene]) -> None:
    """The most frequent class of each of 16^3 colours: about 0.3, where a UNet reaches 0.7."""

    def colours_and_classes(part: list[Scene]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        levels = np.stack([image for image, _ in part]).astype(np.int64) // 16
        return levels @ [256, 16, 1], np.stack([mask for _, mask in part]).astype(np.int64)

    colours, classes = colours_and_classes(scenes[:48])
    counts = np.bincount((colours * 8 + classes).ravel(), minlength=16**3 * 8).reshape(-1, 8)
    test_colours, truth = colours_and_classes(scenes[48:])
    predicted = counts.argmax(1)[test_colours]
    confusion = np.bincount((truth * 8 + predicted).ravel(), minlength=64).reshape(8, 8)
    hits = np.diag(confusion)
    mean_iou = (hits / (confusion.sum(0) + confusion.sum(1) - hits)).mean()
    assert 0.15 < mean_iou < 0.45


def test_files_hold_the_painted_scenes(tmp_path: Path) -> None:
    out = tmp_path / "new" / "set"
    generate(out, train=2, val=0, test=1, size=96, seed=7)
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == [
        "classes.json",
        "contact_sheet.jpg",
        "test/image/scene_0002.jpg",
        "test/mask/scene_0002.png",
        "train/image/scene_0000.jpg",
        "train/image/scene_0001.jpg",
        "train/mask/scene_0000.png",
        "train/mask/scene_0001.png",
    ]
    assert (out / "val/image").is_dir()
    assert (out / "val/mask").is_dir()
    assert list(out.parent.iterdir()) == [out]
    assert tuple(read_classes(out / "classes.json")) == CLASSES
    for number, split in enumerate(("train", "train", "test")):
        image, mask = scene(7, number, 96, 96)
        stored = cv2.imread(str(out / split / f"mask/scene_{number:04}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(stored, mask)
        photo = cv2.imread(str(out / split / f"image/scene_{number:04}.jpg"))
        assert photo is not None
        error = np.abs(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB).astype(int) - image)
        assert error.mean() < 8


def test_a_scene_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    generate(tmp_path / "few", train=1, val=1, test=0, size=64, seed=0)
    generate(tmp_path / "more", train=3, val=0, test=0, size=64, seed=0)
    for few, more in (
        ("train/image/scene_0000.jpg", "train/image/scene_0000.jpg"),
        ("val/mask/scene_0001.png", "train/mask/scene_0001.png"),
    ):
        assert (tmp_path / "few" / few).read_bytes() == (tmp_path / "more" / more).read_bytes()


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    generate(tmp_path / "set", train=1, val=0, test=0, size=64, seed=0)
    assert (tmp_path / "set/train/image/scene_0000.jpg").is_file()


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=f"{tmp_path.name}.*empty folder"):
        generate(tmp_path, train=1, val=0, test=0, size=64, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "wrong", [{"train": 0}, {"val": -1}, {"test": -1}, {"size": 63}, {"seed": -1}]
)
def test_bad_numbers_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    good = {"train": 1, "val": 0, "test": 0, "size": 64, "seed": 0}
    with pytest.raises(InputError, match=next(iter(wrong))):
        generate(tmp_path / "set", **(good | wrong))
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("segbench.data.synthetic.folder.write_classes", fail)
    with pytest.raises(OSError, match="disk full"):
        generate(tmp_path / "set", train=1, val=0, test=0, size=64, seed=0)
    assert not list(tmp_path.iterdir())


def test_contact_sheet_of_mixed_sizes_odd_names_and_ignored_pixels() -> None:
    red, blue = (200, 0, 0), (0, 0, 200)
    classes = [SegmentationClass(0, "Straße", red), SegmentationClass(1, "水面", blue)]
    sizes = [(64, 64), (30, 90), (400, 200)]
    images = [np.full((*size, 3), 50, np.uint8) for size in sizes]
    masks = [np.full(size, value, np.uint8) for size, value in zip(sizes, (0, 1, 255), strict=True)]
    sheet = contact_sheet(images, masks, classes, columns=2)
    seen = {tuple(color) for color in np.unique(sheet.reshape(-1, 3), axis=0).tolist()}
    assert {red, blue, (50, 50, 50), (96, 96, 96)} <= seen
