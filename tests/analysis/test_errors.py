"""``segbench errors`` on networks painted with one fault each: it names the fault and its size."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from painted import GRASS, NAMES, ROAD, TREE, WATER, scene, study_of_networks

from segbench.analysis.separability import sample_pixels, separability

Segbench = Callable[..., str]
Ids = NDArray[np.uint8]


def perfect(ids: Ids, seed: int) -> Ids:
    return ids.copy()


def swaps(ids: Ids, seed: int) -> Ids:
    """Of the three ponds the first is taken for road, as a whole."""
    said = ids.copy()
    said[:60, :45][ids[:60, :45] == WATER] = ROAD
    return said


def dilates(ids: Ids, seed: int) -> Ids:
    """Ponds are three pixels too wide."""
    wide = cv2.dilate((ids == WATER).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return np.where(wide, WATER, ids).astype(np.uint8)


def drops_small_trees(ids: Ids, seed: int) -> Ids:
    said = ids.copy()
    said[88:100][ids[88:100] == TREE] = GRASS
    return said


def shifts(ids: Ids, seed: int) -> Ids:
    return np.roll(ids, 2, axis=1)


def errs_by_seed(ids: Ids, seed: int) -> Ids:
    """Each seed misses another pond."""
    said = ids.copy()
    part = (slice(0, 60), slice(60 * seed, 60 * seed + 45))
    said[part][ids[part] == WATER] = GRASS
    return said


def errors_of(segbench: Segbench, folder: Path, *args: str) -> dict[str, Any]:
    segbench("errors", folder, "--json=e.json", "--workers=1", *args)
    content: dict[str, Any] = json.loads(Path("e.json").read_text())
    return content


def flow(found: dict[str, Any], truth: int, predicted: int) -> dict[str, Any]:
    (one,) = (
        f
        for f in found["confusion"]
        if (f["truth"], f["predicted"]) == (NAMES[truth], NAMES[predicted])
    )
    return dict(one)


def of_class(found: dict[str, Any], number: int) -> dict[str, Any]:
    return dict(found["classes"][number])


def test_a_network_that_swaps_whole_segments(segbench: Segbench, tmp_path: Path):
    folder = study_of_networks(tmp_path, {"swaps": swaps})
    found = errors_of(segbench, folder)
    assert len(found["confusion"]) == 1
    one = flow(found, WATER, ROAD)
    assert one["segment"] == 1
    assert one["share_of_missed"][0] == one["share_of_false"][0] == 1
    assert one["leading"] == 3
    pixels = sum((scene(n)[:60, :45] == WATER).sum() for n in range(8))
    assert one["pixels"] == pixels
    water = of_class(found, WATER)
    assert water["iou"][0] == pytest.approx(2 / 3)
    assert water["lost_by_kind"]["segment"] == pytest.approx(1 / 3)
    assert one["iou_lost"] == pytest.approx(1 / 3)
    assert water["lost_by_kind"]["boundary"] == 0
    # the ponds of the last two scenes have less than 32 x 32 pixels
    assert water["missed_objects"] == {"0-16": 0, "16-32": 2, "32-96": 6, "over 96": 0}
    assert water["replaced_by"] == NAMES[ROAD]
    first = found["findings"][0]["sentence"]
    assert first.startswith(f"{NAMES[WATER]} loses 0.33 IoU to {NAMES[ROAD]}: 100% of its missed")
    assert "100% of that as whole segments: not a border problem" in first
    assert "in 3 of 3 seeds" in first
    assert "they look alike" in first  # painted in like colours
    assert first in " ".join(segbench("errors", folder, "--workers=1").split())


def test_a_class_of_one_image_has_no_interval_over_images(segbench: Segbench, tmp_path: Path):
    def blind(ids: Ids, seed: int) -> Ids:
        said = ids.copy()
        said[:, : 40 + seed][ids[:, : 40 + seed] == WATER] = GRASS
        return said

    alone = [scene(0), *(np.where(scene(n) == WATER, GRASS, scene(n)) for n in range(1, 8))]
    folder = study_of_networks(
        tmp_path, {"blind": blind}, scenes=[s.astype(np.uint8) for s in alone]
    )
    mean, low, high = of_class(errors_of(segbench, folder), WATER)["iou"]
    assert mean == pytest.approx(2 / 3, abs=0.01)
    assert (
        high - low < 0.02
    )  # that of the seeds; zero for what is left without the image is no score


def test_shares_by_hand(segbench: Segbench, tmp_path: Path):
    def mixes_up(ids: Ids, seed: int) -> Ids:
        said = ids.copy()
        ponds = said[:60]
        ponds[:, :45][ids[:60, :45] == WATER] = ROAD
        ponds[:, 45:][ids[:60, 45:] == WATER] = GRASS
        said[110:150, 10:50] = ROAD  # a tree
        return said

    found = errors_of(segbench, study_of_networks(tmp_path, {"mixes up": mixes_up}))
    ponds = sum(40 - n for n in range(8)) * 30  # pixels of one pond, over the scenes
    one = flow(found, WATER, ROAD)
    assert one["share_of_missed"][0] == pytest.approx(1 / 3)
    assert one["share_of_false"][0] == pytest.approx(ponds / (ponds + 8 * 1600))
    assert flow(found, TREE, ROAD)["share_of_missed"][0] == 1
    assert flow(found, WATER, GRASS)["leading"] == 3
    assert one["leading"] == 0


def test_a_network_that_paints_over_borders(segbench: Segbench, tmp_path: Path):
    found = errors_of(segbench, study_of_networks(tmp_path, {"dilates": dilates}))
    one = flow(found, GRASS, WATER)
    assert one["boundary"] == 1
    assert found["iou_lost_by_kind"]["segment"] == 0
    water = of_class(found, WATER)
    assert water["lost_by_kind"]["boundary"] == pytest.approx(1 - water["iou"][0])
    grass = of_class(found, GRASS)
    near = grass["near"]
    assert near["0-1"] > 0.2
    assert near["4-8"] == near["8-16"] == 0
    assert "a border problem" in found["findings"][0]["sentence"]


def test_a_network_that_shifts_everything(segbench: Segbench, tmp_path: Path):
    found = errors_of(segbench, study_of_networks(tmp_path, {"shifts": shifts}))
    shares = [one["boundary"] for one in found["confusion"]]
    assert min(shares) > 0.95  # all but where the picture was rolled around
    # two pixels of shift leave nothing of a band of two on upright sides
    assert of_class(found, WATER)["boundary_iou"]["2"] < of_class(found, WATER)["boundary_iou"]["8"]


def test_a_network_that_drops_small_objects(segbench: Segbench, tmp_path: Path):
    found = errors_of(segbench, study_of_networks(tmp_path, {"drops": drops_small_trees}))
    tree = of_class(found, TREE)
    assert tree["objects"] == {"0-16": 64, "16-32": 0, "32-96": 24, "over 96": 0}
    assert tree["found"] == {"0-16": 0, "16-32": None, "32-96": 1, "over 96": None}
    assert tree["replaced_by"] == NAMES[GRASS]
    sentences = [one["sentence"] for one in found["findings"]]
    assert any(
        s.startswith(f"{NAMES[TREE]}: 100% of the 64 objects of 0-16 px across are missed, 0%")
        for s in sentences
    )


def test_seeds_that_fail_in_turn_vote_right(segbench: Segbench, tmp_path: Path):
    found = errors_of(segbench, study_of_networks(tmp_path, {"in turn": errs_by_seed}))
    (said,) = (s["sentence"] for s in found["findings"] if "wrong in all" in s["sentence"])
    assert said.startswith("0% of the wrong pixels are wrong in all 3 seeds: mostly variance")
    assert "the seeds' vote has mean IoU 1.000" in said
    assert flow(found, WATER, GRASS)["leading"] == 3


def test_labels_that_all_networks_contradict(segbench: Segbench, tmp_path: Path):
    mislabelled = scene(0)
    mislabelled[120:140, 20:40] = ROAD  # in the middle of a tree
    scenes = [mislabelled, *(scene(n) for n in range(1, 8))]

    def sees(ids: Ids, seed: int) -> Ids:
        said = ids.copy()
        said[110:150][ids[110:150] == ROAD] = TREE
        return said

    both = {"one": sees, "other": sees}
    folder = study_of_networks(tmp_path, both, scenes=scenes, confidence=250)
    (doubt,) = errors_of(segbench, folder)["doubtful_labels"]
    assert doubt["image"] == "scene_0"
    assert doubt["box"] == [120, 20, 140, 40]
    assert (doubt["truth"], doubt["predicted"], doubt["pixels"]) == (ROAD, TREE, 400)
    # one arm that agrees with the label, or is not sure, and nobody doubts it
    agrees = {"one": sees, "other": perfect}
    folder = study_of_networks(tmp_path / "agrees", agrees, scenes=scenes, confidence=250)
    assert errors_of(segbench, folder, "--arm=one")["doubtful_labels"] == []
    folder = study_of_networks(tmp_path / "unsure", both, scenes=scenes, confidence=200)
    assert errors_of(segbench, folder)["doubtful_labels"] == []


def test_the_image_that_carries_a_verdict_is_named(segbench: Segbench, tmp_path: Path):
    first = scene(0)

    def fails_on_one(ids: Ids, seed: int) -> Ids:
        return np.zeros_like(ids) if np.array_equal(ids, first) else ids.copy()

    folder = study_of_networks(tmp_path, {"good": perfect, "bad": fails_on_one})
    found = errors_of(segbench, folder)
    top = found["influence"][0]
    assert top["group"] == "scene_0"
    assert top["verdict"] == "equivalent"  # without it the two are alike
    assert top["flips"]


def test_boundary_iou_by_brute_force(segbench: Segbench, tmp_path: Path):
    """Cheng et al., 2021: what erosion by d steps takes away, of truth and of prediction."""
    rng = np.random.default_rng(0)
    noise = [cv2.resize(rng.integers(0, 4, (8, 10), np.uint8), (100, 80), interpolation=0)
             for _ in range(2)]  # fmt: skip
    said = iter([np.roll(ids, (3, 5), (0, 1)) for ids in noise])
    folder = study_of_networks(tmp_path, {"a": lambda ids, seed: next(said)}, 1, noise)
    found = errors_of(segbench, folder)
    square = np.ones((3, 3), np.uint8)

    def band(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
        padded = np.pad(mask, 1).astype(np.uint8)
        return mask & ~cv2.erode(padded, square, iterations=width)[1:-1, 1:-1].astype(bool)

    for k in range(4):
        for width in (2, 4, 8):
            both = either = 0
            for ids in noise:
                true = band(ids == k, width)
                predicted = band(np.roll(ids, (3, 5), (0, 1)) == k, width)
                both += (true & predicted).sum()
                either += (true | predicted).sum()
            assert of_class(found, k)["boundary_iou"][str(width)] == pytest.approx(both / either)


def test_colour_tells_apart_what_has_another_colour_and_nothing_else():
    rng = np.random.default_rng(0)
    images = []
    for _ in range(6):
        ids = np.repeat(np.arange(3, dtype=np.uint8), 20)[:, None].repeat(40, 1)
        shades = np.array([100, 100, 180])[ids]
        picture = (shades + rng.integers(-30, 30, ids.shape))[..., None].repeat(3, 2)
        images.append((picture.astype(np.uint8), ids))
    sample = sample_pixels(images, range(6), 3, 100, rng)
    alike, apart = separability(sample, 0, 1), separability(sample, 0, 2)
    assert alike is not None
    assert apart is not None
    assert alike < 0.65
    assert apart > 0.99
    assert separability(sample, 0, 7) is None


def test_the_gallery_shows_the_worst_places(segbench: Segbench, tmp_path: Path):
    folder = study_of_networks(tmp_path, {"swaps": swaps})
    printed = segbench("errors", folder, "--gallery=g", "--workers=1")
    crops = sorted(Path("g/1_class-1_as_class-2").iterdir())
    assert [path.name for path in crops][:2] == ["01_scene_0_y10_x10.png", "02_scene_1_y11_x10.png"]
    assert len(crops) == 8
    assert "8 crops" in printed
    strip = cv2.imread(str(crops[0]))
    assert strip.shape == (256, 5 * 256 + 4 * 4, 3)
    again = {path.name: path.read_bytes() for path in crops}
    segbench("errors", folder, "--gallery=h", "--workers=2")
    assert {p.name: p.read_bytes() for p in Path("h/1_class-1_as_class-2").iterdir()} == again


def test_what_is_missing_is_named(refusal: Segbench, tmp_path: Path):
    folder = study_of_networks(tmp_path, {"swaps": swaps, "good": perfect})
    assert "--arm: nope; one of good, swaps" in refusal("errors", folder, "--arm=nope")
    assert "--boundary: -1.0" in refusal("errors", folder, "--boundary=-1")
    path = folder / "swaps_seed-1" / "test" / "predictions" / "scene_3.png"
    path.write_bytes(b"no picture")
    line = refusal("errors", folder, "--arm=swaps", "--workers=1")
    assert f"{path}: not readable as a picture" in line
    path.unlink()
    assert "has no prediction of scene_3" in refusal("errors", folder, "--arm=swaps")
