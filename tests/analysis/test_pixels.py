"""What is counted in one image, against loops over its pixels and SciPy's segments."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from segbench.analysis import pixels
from segbench.analysis.pixels import Task, errors_of, places_of

Ids = NDArray[np.uint8]
CLASSES, SEEDS = 5, 4
SQUARE = np.ones((3, 3), dtype=bool)


def blocks(rng: np.random.Generator, highest: int, side: int) -> Ids:
    small = rng.integers(0, highest, (72 // side, 96 // side), dtype=np.uint8)
    return small.repeat(side, 0).repeat(side, 1)


@pytest.fixture
def painted(tmp_path: Path) -> tuple[Task, Ids, Ids, Ids]:
    """An image on disk, its truth with ignored pixels, its predictions and confidences."""
    rng = np.random.default_rng(0)
    truth = np.where(blocks(rng, 6, 12) == 0, 255, blocks(rng, CLASSES, 8)).astype(np.uint8)
    common = blocks(rng, CLASSES, 24)
    base = np.where((truth == 255) | (common > 2), common, truth)
    predictions = np.stack(
        [
            np.where(blocks(rng, 3, 12) == 0, blocks(rng, CLASSES, 4), base).astype(np.uint8)
            for _ in range(SEEDS)
        ]
    )
    confidences = np.stack([blocks(rng, 256, 6) // 64 * 64 for _ in range(SEEDS)])  # with ties

    def write(name: str, ids: Ids) -> Path:
        Image.fromarray(ids).save(tmp_path / name)
        return tmp_path / name

    task = Task(
        "image",
        write("truth.png", truth),
        tuple(write(f"prediction_{s}.png", one) for s, one in enumerate(predictions)),
        tuple(write(f"confidence_{s}.png", one) for s, one in enumerate(confidences)),
    )
    return task, truth, predictions, confidences


@pytest.mark.parametrize("at_once", [2**24, 500, 1])
def test_every_pixel_is_counted_once(
    painted: tuple[Task, Ids, Ids, Ids], at_once: int, monkeypatch: pytest.MonkeyPatch
):
    task, truth, predictions, confidences = painted
    monkeypatch.setattr(pixels, "EXACT", at_once)
    found = errors_of(task, CLASSES, 2)
    confusion = np.zeros((SEEDS, CLASSES, CLASSES), dtype=int)
    agreed = np.zeros((CLASSES, SEEDS + 1), dtype=int)
    ensemble = np.zeros((CLASSES, CLASSES), dtype=int)
    for y, x in np.argwhere(truth != 255):
        true, said = truth[y, x], predictions[:, y, x]
        votes = np.zeros(CLASSES)
        for seed in range(SEEDS):
            confusion[seed, true, said[seed]] += 1
            votes[said[seed]] += 1 + int(confidences[seed, y, x])
        agreed[true, sum(k != true for k in said)] += 1
        ensemble[true, votes.argmax()] += 1
    np.testing.assert_array_equal(found.confusion, confusion)
    np.testing.assert_array_equal(found.agreed, agreed)
    np.testing.assert_array_equal(found.ensemble, ensemble)
    wrong = confusion * (1 - np.eye(CLASSES, dtype=int))
    np.testing.assert_array_equal(found.flow.sum(3), wrong)
    np.testing.assert_array_equal(found.near_wrong.sum(2), wrong.sum(2))
    np.testing.assert_array_equal(found.near_all.sum(1), confusion[0].sum(1))


def test_objects_are_found_by_half_of_their_pixels(painted: tuple[Task, Ids, Ids, Ids]):
    task, truth, predictions, _ = painted
    found = errors_of(task, CLASSES, 2)
    hits, objects = np.zeros((SEEDS, CLASSES), dtype=int), np.zeros(CLASSES, dtype=int)
    replaced = np.zeros((SEEDS, CLASSES, CLASSES), dtype=int)
    for k in range(CLASSES):
        numbers, count = ndimage.label(truth == k, SQUARE)
        objects[k] = count
        for number in range(1, count + 1):
            for seed in range(SEEDS):
                said = np.bincount(predictions[seed][numbers == number], minlength=CLASSES)
                if said[k] >= said.sum() / 2:
                    hits[seed, k] += 1
                else:
                    said[k] = -1
                    replaced[seed, k, said.argmax()] += 1
    np.testing.assert_array_equal(found.objects.sum(1), objects)
    np.testing.assert_array_equal(found.found.sum(2), hits)
    np.testing.assert_array_equal(found.replaced, replaced)
    assert 0 < hits.sum() < SEEDS * objects.sum()


def test_places_are_the_largest_areas_in_which_half_of_the_seeds_agree(
    painted: tuple[Task, Ids, Ids, Ids],
):
    task, truth, predictions, _ = painted
    seen = 0
    for true, said in itertools.permutations(range(CLASSES), 2):
        share = (predictions == said).mean(0)
        numbers, count = ndimage.label((truth == true) & (share >= 0.5), SQUARE)
        parts = [numbers == n for n in range(1, count + 1)]
        boxes = ndimage.find_objects(numbers)
        expected = [
            ((y.start, x.start, y.stop, x.stop), int(part.sum()), pytest.approx(share[part].mean()))
            for part, (y, x) in zip(parts, boxes, strict=True)
            if part.sum() >= 64
        ]
        areas = places_of(task, [(true, said)], most=len(parts))
        sizes = [area.pixels for area in areas]
        assert sizes == sorted(sizes, reverse=True)
        assert len(areas) == len(expected)
        for area in areas:
            assert (area.truth, area.predicted) == (true, said)
            assert any((area.box, area.pixels, area.share) == one for one in expected)
        assert places_of(task, [(true, said)], most=1) == areas[:1]
        seen += len(areas)
    assert seen > 5
