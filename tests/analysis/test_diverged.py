"""Seeds and arms that learned nothing: said, counted both ways, and never the best."""

from pathlib import Path

import numpy as np
from comparisons import Segbench, as_json, simulated, study_of

from segbench.analysis.study import read_study


def test_diverged_seeds_are_said_and_counted_both_ways(segbench: Segbench, tmp_path: Path):
    counts = simulated(2, 5, 20, shift=0.4)
    everything = counts[1, 4].sum(-1)  # seed 4 of the second arm calls all of it class 7
    counts[1, 4] = 0
    counts[1, 4, :, :, 7] = everything
    folder = study_of(tmp_path / "s", counts, ["none", "full"])
    (verdict,) = as_json(segbench, folder)
    assert verdict["diverged"] == 1
    assert verdict["seeds"] == 4
    assert verdict["verdict"] == "better"
    assert verdict["verdict_with_diverged"] == "inconclusive"
    printed = " ".join(segbench("compare", folder).split())
    assert "full: 1 of 5 seeds diverged" in printed
    assert "(with the diverged seeds: inconclusive)" in printed


def test_networks_that_call_everything_the_commonest_class_are_not_equivalent(
    segbench: Segbench, refusal: Segbench, tmp_path: Path
):
    counts = simulated(2, 5, 20)
    everything = counts[0, 0].sum((0, 2)).argmax()
    truths = counts.sum(-1)
    counts[:] = 0
    counts[..., everything] = truths
    study = study_of(tmp_path / "s", counts, ["none", "full"], contrasts="all_pairs")
    (verdict,) = as_json(segbench, study)
    assert verdict["verdict"] == "not assessable"
    printed = " ".join(segbench("compare", study).split())
    assert "highest mean: none, all seeds diverged" in printed
    assert "none: 5 of 5 seeds diverged (no finite loss, or no better than" in printed
    assert "nan" not in printed
    refused = refusal("errors", study)
    assert "every seed of every arm diverged" in refused
    assert "train longer" in refused


def test_networks_that_hardly_learned_are_said_to(segbench: Segbench, tmp_path: Path):
    counts = np.zeros((2, 3, 8, 2, 2), dtype=np.int64)
    counts[..., 0, 0], counts[..., 1, 0], counts[..., 1, 1] = 60, 39, 1
    counts[1, ..., 1, :] = 10, 30
    printed = segbench("compare", study_of(tmp_path / "s", counts, ["none", "full"]))
    # 60/99 and 1/40 against 60/100 and 0
    assert (
        "none hardly learned: its mean IoU is 0.016 above that of calling everything the commonest "
        "class (0.300)"
    ) in " ".join(printed.split())
    assert "full hardly" not in printed


def test_an_arm_that_diverged_is_not_the_best(segbench: Segbench, tmp_path: Path):
    counts = simulated(3, 5, 20)
    truths = counts.sum(-1)
    counts[0] = 0
    counts[0, ..., truths.sum((0, 1, 2)).argmax()] = truths[0]
    arms = ["a.yaml", "b.yaml", "c.yaml"]
    study = study_of(tmp_path / "s", counts, arms, "config", contrasts="all_pairs")
    printed = segbench("compare", study)
    (best,) = [line for line in printed.splitlines() if line.startswith("highest mean: ")]
    assert best.split(": ")[1].split(";")[0] in ("b", "c")
    ranking = printed[printed.index("Ranking under three conventions") :]
    assert ranking.count("(1.)") == 3
    assert "│ a " not in ranking


def test_where_the_truth_has_one_class_a_perfect_network_is_none_that_diverged(
    segbench: Segbench, tmp_path: Path
):
    counts = np.zeros((2, 3, 8, 2, 2), dtype=np.int64)
    counts[..., 0, 0] = 100
    folder = study_of(tmp_path / "s", counts, ["none", "full"])
    assert [arm.diverged for arm in read_study([folder]).arms] == [0, 0]
    assert "hardly learned" not in segbench("compare", folder)
