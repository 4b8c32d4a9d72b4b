"""The stride ceiling: what a coarse map could reach, and what the network did in its place."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from painted import NAMES, TREE, WATER, scene, study_of_networks

from segbench import metrics
from segbench.analysis.ceiling import Ceilings, best_logits, crops_of_classes, upsampled
from segbench.analysis.findings import of_ceilings

Segbench = Callable[..., str]
Ids = NDArray[np.uint8]


def misses_two_scenes(ids: Ids, seed: int) -> Ids:
    """No tree is found in the first two scenes."""
    missed = any((ids == scene(number)).all() for number in (0, 1))
    return np.where((ids == TREE) & missed, WATER, ids).astype(np.uint8)


def test_a_network_is_scored_in_the_crops_of_the_ceiling(segbench: Segbench, tmp_path: Path):
    folder = study_of_networks(tmp_path, {"misses": misses_two_scenes}, seeds=2)
    segbench("errors", folder, "--json=e.json", "--workers=1")
    found = {one["name"]: one for one in json.loads(Path("e.json").read_text())["classes"]}
    crops = crops_of_classes(map(scene, range(8)), 4, 192, 3, np.random.default_rng(0))
    counts = np.zeros((4, 4), dtype=np.int64)
    for crop in crops:
        said = crop.of(misses_two_scenes(scene(crop.image), 0))
        known = crop.truth != 255
        assert (
            said[known & (crop.truth != TREE)] == crop.truth[known & (crop.truth != TREE)]
        ).all()
        np.add.at(counts, (crop.truth[known], said[known]), 1)
    iou = metrics.class_iou(counts)
    assert [found[name]["iou_in_crops"] for name in NAMES] == pytest.approx(list(iou))
    # the crops are of the first three scenes, of which two are missed, and there are eight
    assert found[NAMES[TREE]]["iou_in_crops"] < found[NAMES[TREE]]["iou"][0] - 0.2
    assert set(found[NAMES[TREE]]["stride_ceiling"]) == {"8", "16", "32"}


def test_a_crop_is_the_same_place_of_truth_and_prediction():
    numbered = np.arange(160 * 200).reshape(160, 200) % 251
    ids = numbered.astype(np.uint8)
    (crop, *_) = crops_of_classes(iter([ids]), 1, 64, 1, np.random.default_rng(3))
    assert (crop.of(ids) == crop.truth).all()
    inside = crop.truth[max(0, -crop.top) :, max(0, -crop.left) :]
    top, left = max(0, crop.top), max(0, crop.left)
    whole = ids[top : top + len(inside), left : left + inside.shape[1]]
    assert (inside[: len(whole), : whole.shape[1]] == whole).all()


def test_the_stride_is_the_cause_where_the_network_is_at_its_ceiling():
    best = {16: {"a": 0.7, "b": 0.7, "c": 0.97}}
    found = of_ceilings(Ceilings(best, {"a": 0.69, "b": 0.5, "c": 0.96}), 16)
    assert [one.truth for one in found] == ["a"]
    assert "its IoU is 0.69, where a map of that stride" in found[0].sentence
    assert of_ceilings(Ceilings(best, {"a": 0.69, "b": 0.5, "c": 0.96}), 8) == []
    assert of_ceilings(Ceilings(best, {"a": 0.69, "b": 0.5, "c": 0.96}), None) == []


def test_the_best_logits_of_a_stride_beat_the_pooled_truth():
    truth = scene(0)[:160, :192]
    logits = best_logits(truth, 16, 4)
    up = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], scale_factor=16, mode="bilinear", align_corners=False
    )[0].numpy()
    np.testing.assert_allclose(upsampled(logits, 16), up, atol=1e-4)

    def score(said: Ids) -> float:
        codes = truth.ravel().astype(int) * 4 + said.ravel()
        return float(metrics.mean_iou(np.bincount(codes, minlength=16).reshape(4, 4)))

    wanted = (truth == np.arange(4)[:, None, None]).astype(np.float32)
    pooled = wanted.reshape(4, 10, 16, 12, 16).mean((2, 4))
    assert score(up.argmax(0)) > score(upsampled(pooled, 16).argmax(0)) + 0.05
    assert score(upsampled(best_logits(truth, 8, 4), 8).argmax(0)) > score(up.argmax(0))
