"""Of what a verdict speaks, and which seeds it pairs."""

from pathlib import Path

import numpy as np
import pytest
from comparisons import Counts, Segbench, as_json, judged, simulated, study_of
from studies_on_paper import plan_of, write_run

from segbench import metrics
from segbench.analysis.compare import compare
from segbench.analysis.influence import influences
from segbench.analysis.questions import rules_of
from segbench.analysis.study import read_study


def in_groups(folder: Path, counts: Counts, groups: int) -> Path:
    names = [f"flight {i % groups}" for i in range(counts.shape[2])]
    for value, seeds in zip(("none", "full"), counts, strict=True):
        for seed, one in enumerate(seeds):
            write_run(folder, {"data.augmentation": value}, seed, one, groups=names)
    plan_of(folder, {"data.augmentation": ["none", "full"]}, counts.shape[1])
    return folder


def calls_all_the_commonest(counts: Counts) -> Counts:
    """Counts [n, K, K] of a network that diverged."""
    truth = counts.sum(-1)
    made = np.zeros_like(counts)
    made[..., truth.sum(0).argmax()] = truth
    return made


def test_of_few_groups_nothing_is_said_about_checkpoints(tmp_path: Path):
    folder = in_groups(tmp_path / "s", simulated(2, 3, 10), 1)
    (verdict,) = judged(folder, estimand="checkpoints")
    assert verdict.verdict == "not assessable"
    assert verdict.reason.startswith("1 group of test images: too few to speak of other images")
    assert verdict.ci_low is None


def test_of_checkpoints_no_seeds_are_asked_for(tmp_path: Path):
    folder = study_of(tmp_path / "s", simulated(2, 3, 40), ["none", "full"])
    (verdict,) = judged(folder, estimand="checkpoints", margin=0.016)
    assert verdict.verdict == "inconclusive"
    assert verdict.variance_seeds == 0
    assert verdict.needed.advice == (
        "these images could have shown a difference of 0.016 and showed less"
    )
    (verdict,) = judged(folder, estimand="checkpoints", margin=0.001)
    assert verdict.needed.groups_needed > 40


def test_images_of_groups_are_asked_for_by_the_group(tmp_path: Path):
    folder = in_groups(tmp_path / "s", simulated(2, 5, 40), 8)
    (verdict,) = judged(folder, margin=0.002)
    assert "more groups of test images" in verdict.needed.advice


def test_pairs_are_of_the_seeds_that_diverged_in_neither_arm(segbench: Segbench, tmp_path: Path):
    counts = simulated(2, 5, 20, shift=0.3)
    counts[0, 1] = calls_all_the_commonest(counts[0, 1])
    counts[1, 3] = calls_all_the_commonest(counts[1, 3])
    folder = study_of(tmp_path / "s", counts, ["none", "full"])
    (verdict,) = as_json(segbench, folder, "--paired")
    m = metrics.mean_iou(counts.sum(2))
    differences = (m[1] - m[0])[[0, 2, 4]]
    assert verdict["seeds"] == 3
    assert verdict["diverged"] == 2
    assert verdict["difference"] == pytest.approx(differences.mean())
    assert verdict["variance_seeds"] == pytest.approx(differences.var(ddof=1) / 3)
    assert verdict["single_seed_ahead"] == pytest.approx((differences > 0).mean())
    assert verdict["bootstrap_se"] is None
    # one arm alone lacks a seed
    one = study_of(
        tmp_path / "t", np.stack([counts[0], simulated(2, 5, 20, 0.3)[1]]), ["none", "full"]
    )
    (verdict,) = as_json(segbench, one, "--paired")
    assert verdict["seeds"] == 4


def test_one_shared_seed_is_too_few_to_pair(tmp_path: Path):
    counts = simulated(2, 3, 20)
    counts[0, 0] = calls_all_the_commonest(counts[0, 0])
    counts[1, 1] = calls_all_the_commonest(counts[1, 1])
    (verdict,) = judged(study_of(tmp_path / "s", counts, ["none", "full"]), paired=True)
    assert verdict.reason == "one seed of the pair is without divergence in both arms"


def test_an_image_without_labels_is_no_group(tmp_path: Path):
    counts = simulated(2, 3, 20)
    counts[:, :, 3] = 0
    (verdict,) = judged(study_of(tmp_path / "s", counts, ["none", "full"]), margin=0.001)
    assert "more test images" in verdict.needed.advice


@pytest.mark.parametrize("estimand", ["method", "checkpoints"])
def test_no_image_flips_a_verdict_by_leaving_too_few(tmp_path: Path, estimand: str):
    study = read_study([in_groups(tmp_path / "s", simulated(2, 5, 24, shift=0.1), 6)])
    rules = rules_of(study, {"estimand": estimand})
    found = influences(study, rules, compare(study, rules))
    assert {(one.verdict, one.flips) for one in found} == {("not assessable", False)}
