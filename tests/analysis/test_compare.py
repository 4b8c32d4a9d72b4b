"""``segbench compare`` on studies whose counts are known."""

import csv
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparisons import FACTOR, Segbench, as_json, judged, simulated, study_of
from studies_on_paper import plan_of, write_run

from segbench import metrics
from segbench.analysis import stats
from segbench.analysis.compare import best_set, compare, per_class
from segbench.analysis.curves import fluctuation
from segbench.analysis.questions import SCORES, questions, rules_of
from segbench.analysis.study import read_study
from segbench.errors import InputError
from segbench.report.verdicts import warnings_of


def test_a_clear_difference_in_words_and_numbers(segbench: Segbench, tmp_path: Path):
    counts = simulated(2, 5, 40, shift=0.5)
    folder = study_of(tmp_path / "aug", counts, ["none", "full"])
    printed = segbench("compare", folder, "--json=v.json", "--csv=v.csv", "--markdown=v.md")
    (verdict,) = json.loads(Path("v.json").read_text())
    scores = metrics.mean_iou(counts.sum(2))
    difference = scores[1].mean() - scores[0].mean()
    assert verdict["difference"] == pytest.approx(difference)
    assert verdict["verdict"] == "better"
    assert verdict["beyond_margin"]
    assert (verdict["seeds"], verdict["images"], verdict["groups"]) == (5, 40, 40)
    assert (verdict["margin"], verdict["alpha"], verdict["post_hoc"]) == (0.02, 0.05, [])
    arms = [stats.score_arm(one, metrics.mean_iou) for one in counts]
    found = stats.estimate((-1, 1), arms)
    assert verdict["variance_images"] == pytest.approx(found.variance_images)
    assert verdict["variance_seeds"] == pytest.approx(found.variance_seeds)
    low, high = stats.interval(found, 0.95)
    assert (verdict["ci_low"], verdict["ci_high"]) == pytest.approx((low, high))
    assert verdict["single_seed_misleads"] == 0
    assert (
        f"Augmentation (full against none) changes the mean IoU of UNet by {difference:+.3f} "
        f"[{low:+.3f}, {high:+.3f}] (95 %, 5 seeds, 40 images in 40 groups): better, by more than "
        "the margin 0.02."
    ) in " ".join(printed.split())
    (row,) = csv.DictReader(Path("v.csv").read_text().splitlines())
    assert row["verdict"] == "better"
    assert "| full - none |" in Path("v.md").read_text()


def test_a_name_is_no_formula_in_a_spreadsheet(segbench: Segbench, tmp_path: Path):
    folder = study_of(tmp_path / "aug", simulated(2, 3, 20), ["none", "=1+1"])
    segbench("compare", folder, "--csv=v.csv")
    (row,) = csv.DictReader(Path("v.csv").read_text().splitlines())
    assert (row["arm"], row["baseline"]) == ("'=1+1", "none")
    assert float(row["ci_low"]) < float(row["ci_high"])


def test_the_same_counts_twice_are_equivalent(tmp_path: Path):
    counts = simulated(1, 5, 20)
    folder = study_of(tmp_path / "s", np.concatenate([counts, counts]), ["none", "full"])
    (verdict,) = judged(folder)
    assert verdict.verdict == "equivalent"
    assert (verdict.difference, verdict.p_difference, verdict.p_equivalent) == (0, 1, 0)


def test_an_unclear_difference_says_what_would_settle_it(tmp_path: Path):
    counts = simulated(2, 3, 40, shift=0.02, seed=3)
    (verdict,) = judged(study_of(tmp_path / "s", counts, ["none", "full"]))
    assert verdict.verdict == "inconclusive"
    needed = verdict.needed
    assert needed.seeds_more
    assert needed.seeds_total == 3 + needed.seeds_more
    assert needed.hours == pytest.approx(2 * needed.seeds_more)  # an hour a run, two arms
    assert needed.advice.startswith(f"{needed.seeds_more} more seeds per arm")


def test_one_seed_is_no_verdict(segbench: Segbench, tmp_path: Path):
    folder = study_of(tmp_path / "s", simulated(2, 1, 20), ["none", "full"])
    (verdict,) = as_json(segbench, folder)
    assert verdict["verdict"] == "not assessable"
    assert "one seed" in verdict["reason"]
    assert verdict["ci_low"] is None


@pytest.mark.parametrize("groups", [1, 5])
def test_few_groups_speak_of_this_test_set_only(segbench: Segbench, tmp_path: Path, groups: int):
    counts = simulated(2, 5, 5, shift=1.0)
    folder = tmp_path / "s"
    for value, seeds in zip(["none", "full"], counts, strict=True):
        for seed, one in enumerate(seeds):
            names = [f"tile {i % groups}" for i in range(5)]
            write_run(folder, {FACTOR: value}, seed, one, groups=names)
    plan_of(folder, {FACTOR: ["none", "full"]}, 5)
    (verdict,) = as_json(segbench, folder)
    assert verdict["estimand"] == "test_set"
    assert verdict["variance_images"] == 0
    said = "1 group" if groups == 1 else f"{groups} groups"
    assert f"{said} of test images: too few" in verdict["reason"]
    assert "these test images only" in segbench("compare", folder)


def test_what_is_asked_for_afterwards_is_called_post_hoc(segbench: Segbench, tmp_path: Path):
    folder = study_of(tmp_path / "s", simulated(2, 3, 20), ["none", "full"])
    assert as_json(segbench, folder)[0]["post_hoc"] == []
    assert as_json(segbench, folder, "--margin=0.02")[0]["post_hoc"] == []  # the plan's own
    (verdict,) = as_json(segbench, folder, "--margin=0.05", "--paired", "--metric=mean_acc")
    assert set(verdict["post_hoc"]) == {"margin", "metric", "paired"}
    assert verdict["margin"] == 0.05
    assert "[post hoc:" in segbench("compare", folder, "--alpha=0.1")


def test_a_new_score_of_counts_needs_no_more_than_its_name(
    segbench: Segbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As docs/EXTENDING.md promises: every table, under the right head."""
    monkeypatch.setitem(
        SCORES, "share_of_7", lambda counts: counts[..., 7].sum(-1) / counts.sum((-2, -1))
    )
    counts = simulated(2, 3, 20)
    folder = study_of(tmp_path / "s", counts, ["none", "full"], contrasts="all_pairs")
    printed = segbench("compare", folder, "--metric=share_of_7", "--json=v.json")
    (verdict,) = json.loads(Path("v.json").read_text())
    totals = counts.sum(2)
    means = (totals[..., 7].sum(-1) / totals.sum((-2, -1))).mean(1)
    assert verdict["difference"] == pytest.approx(means[1] - means[0])
    assert "highest mean: " in printed
    arms = printed[printed.index("Arms: mean over seeds") :].splitlines()[1:]
    head, row = ([cell.strip() for cell in arms[i].replace("┃", "│").split("│")] for i in (1, 4))
    assert (row[1], row[head.index("share_of_7")]) == ("full", f"{means[1]:.3f}")


def test_looks_share_alpha(tmp_path: Path):
    folder = study_of(tmp_path / "s", simulated(2, 5, 20), ["none", "full"], looks=[5, 10])
    (verdict,) = judged(folder)
    assert verdict.alpha == 0.025
    assert verdict.ci_level == 0.975
    assert verdict.post_hoc == []
    # a study stopped between its looks is read all the same, and marked
    between = study_of(tmp_path / "t", simulated(2, 5, 20), ["none", "full"], looks=[5, 10])
    for run in between.glob("*_seed-4"):
        (run / "run.json").unlink()
    (verdict,) = judged(between)
    assert verdict.post_hoc == ["seeds per arm: 4, no declared look"]


def test_all_pairs_of_three_as_one_family(tmp_path: Path):
    counts = np.concatenate([simulated(2, 5, 40, shift=0.6), simulated(2, 5, 40, 0.6)[1:]])
    rng = np.random.default_rng(1)
    counts[2] += rng.integers(0, 3, counts[2].shape)
    folder = study_of(
        tmp_path / "s", counts, ["a.yaml", "b.yaml", "c.yaml"], "config", contrasts="all_pairs"
    )
    verdicts = judged(folder)
    assert [(v.baseline, v.arm) for v in verdicts] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [v.p_difference for v in verdicts]
    assert [v.p_difference_holm for v in verdicts] == pytest.approx(list(stats.holm(raw)))
    assert verdicts[0].ci_level == pytest.approx(1 - 0.05 / 3)
    means = {"a": 0.1, "b": 0.3, "c": 0.29}
    assert best_set(verdicts, means) == ["b", "c"]


def test_a_plan_can_name_its_pairs(tmp_path: Path):
    counts = np.concatenate([simulated(2, 3, 20), simulated(2, 3, 20, seed=1)])
    folder = study_of(
        *(tmp_path / "s", counts, ["a.yaml", "b.yaml", "c.yaml", "d.yaml"], "config"),
        contrasts=["b - a", "c - d"],
    )
    verdicts = judged(folder)
    assert [(v.arm, v.baseline) for v in verdicts] == [("b", "a"), ("c", "d")]
    m = metrics.mean_iou(counts.sum(2)).mean(1)
    expected = [m[1] - m[0], m[2] - m[3]]
    assert [v.difference for v in verdicts] == pytest.approx(expected)
    assert verdicts[0].ci_level == pytest.approx(1 - 0.05 / 2)


def test_pairs_of_a_study_that_still_runs_are_those_that_are_there(tmp_path: Path):
    counts = simulated(2, 3, 20)
    folder = study_of(tmp_path / "s", counts, ["a.yaml", "b.yaml"], "config")
    study = read_study([folder])
    (question,), planned = questions(study, ["b - a", "c - a"])
    assert planned == 2
    assert (question.arm, question.baseline) == ("b", "a")
    with pytest.raises(InputError, match="no pair of its plan has finished runs"):
        questions(study, ["c - a"])


@pytest.mark.parametrize("pair", ["b", "b - x", "b - b", "b-a"])
def test_a_pair_of_no_two_arms_is_no_plan(tmp_path: Path, pair: str):
    with pytest.raises(InputError, match=r"plan\.contrasts: .* ARM - BASELINE, of the arms a, b"):
        study_of(tmp_path, simulated(2, 2, 8), ["a.yaml", "b.yaml"], "config", contrasts=[pair])


def test_two_factors_give_main_effects_and_their_interaction(tmp_path: Path):
    counts = simulated(4, 3, 20)
    levels = [(False, "none"), (False, "full"), (True, "none"), (True, "full")]
    folder = tmp_path / "s"
    for (aspp, policy), seeds in zip(levels, counts, strict=True):
        for seed, one in enumerate(seeds):
            write_run(folder, {"model.aspp": aspp, FACTOR: policy}, seed, one)
    plan_of(folder, {"model.aspp": [False, True], FACTOR: ["none", "full"]}, 3)
    aspp, augmentation, both = judged(folder)
    m = metrics.mean_iou(counts.sum(2)).mean(1)
    assert aspp.difference == pytest.approx((m[2] + m[3] - m[0] - m[1]) / 2)
    assert augmentation.difference == pytest.approx((m[1] + m[3] - m[0] - m[2]) / 2)
    assert both.difference == pytest.approx(m[3] - m[2] - m[1] + m[0])
    assert aspp.ci_level == pytest.approx(1 - 0.05 / 3)  # all three are one family
    assert (aspp.baseline, aspp.arm) == ("off", "on")


def test_folds_are_pooled_before_anything_else(tmp_path: Path):
    counts = simulated(2, 3, 20)
    whole = study_of(tmp_path / "whole", counts, ["none", "full"])
    parts = tmp_path / "folds"
    names = [f"image_{i:03d}" for i in range(20)]
    for value, seeds in zip(["none", "full"], counts, strict=True):
        for seed, one in enumerate(seeds):
            for fold, where in enumerate((range(12, 20), range(12))):
                chosen = list(where)
                write_run(
                    *(parts, {FACTOR: value}, seed, one[chosen]),
                    images=[names[i] for i in chosen],
                    fold=fold,
                )
    (one,), (other,) = judged(whole), judged(parts)
    assert other.difference == pytest.approx(one.difference)
    assert other.variance_images == pytest.approx(one.variance_images)
    assert other.variance_seeds == pytest.approx(one.variance_seeds)


def test_each_fold_has_a_best_epoch_of_its_own(tmp_path: Path):
    counts = simulated(1, 1, 20)[0, 0]
    for fold, val in enumerate(([0.5, 0.1, 0.1], [0.1, 0.1, 0.7])):
        chosen = slice(10 * fold, 10 * fold + 10)
        write_run(
            *(tmp_path, {FACTOR: "none"}, 0, counts[chosen]),
            images=[f"image_{i}" for i in range(20)][chosen],
            fold=fold, val=val, train_clean=[0.8, 0.85, 0.9], config={"data.folds": 2},
        )  # fmt: skip
    study = read_study([tmp_path])
    found = fluctuation(study, study.arms[0])
    assert found.train_clean == pytest.approx((0.8 + 0.9) / 2)
    assert found.gap == pytest.approx((0.8 + 0.9) / 2 - (0.5 + 0.7) / 2)


def test_other_machines_and_other_numbers_of_devices_are_said(segbench: Segbench, tmp_path: Path):
    folder = tmp_path / "s"
    machine = {"cpu": "x", "gpus": ["g"] * 8, "threads": 2, "accelerator": "cuda"}
    for value, devices, seeds in zip(["none", "full"], (1, 8), simulated(2, 2, 8), strict=True):
        for seed, one in enumerate(seeds):
            write_run(folder, {FACTOR: value}, seed, one, hardware=machine | {"devices": devices})
    printed = " ".join(segbench("compare", folder).split())
    assert "the runs come from different hardware" in printed
    assert "different numbers of devices, each with data.batch_size" in printed


def test_names_that_a_terminal_would_draw_stay_as_they_are(segbench: Segbench, tmp_path: Path):
    folder = study_of(tmp_path / "s", simulated(2, 2, 8), [":car:", "full"])
    printed = segbench("compare", folder)
    assert "full against :car:" in printed
    assert "\N{AUTOMOBILE}" not in printed
    segbench("report", folder)
    assert "\N{AUTOMOBILE}" not in (folder / "report.html").read_text(encoding="utf-8")


def test_runs_made_by_hand_are_compared_by_what_differs(tmp_path: Path):
    counts = simulated(2, 3, 20)
    for value, seeds in zip(["full", "none"], counts, strict=True):
        for seed, one in enumerate(seeds):
            write_run(tmp_path / "s", {FACTOR: value, "model.width": 8}, seed, one)
    (verdict,) = judged(tmp_path / "s")
    assert (verdict.factor, verdict.baseline, verdict.arm) == (FACTOR, "none", "full")
    assert verdict.post_hoc == ["no plan"]


def test_classes_are_a_family_of_their_own(tmp_path: Path):
    counts = simulated(2, 5, 40, shift=0.6)
    counts[..., 7, :] = 0
    counts[:, :, :2, 7, 7] = 500  # class 7 in two images only
    study = read_study([study_of(tmp_path / "s", counts, ["none", "full"])])
    found = per_class(study, rules_of(study, {}))
    assert [c.metric for c in found] == [f"iou/class {k}" for k in range(8)]
    iou = metrics.class_iou(counts.sum(2)).mean(1)
    assert [c.difference for c in found] == pytest.approx(list(iou[1] - iou[0]))
    assert found[7].verdict == "not assessable"
    assert found[7].reason == "in 2 groups only"
    judged_ones = [c for c in found if c.p_difference is not None]
    raw = [c.p_difference for c in judged_ones]
    assert [c.p_difference_holm for c in judged_ones] == pytest.approx(list(stats.holm(raw)))
    assert {c.ci_level for c in judged_ones} == {1 - 0.05 / 7}


@pytest.mark.parametrize("what", ["data", "images", "classes", "same", "none"])
def test_what_does_not_belong_together_is_refused(refusal: Segbench, tmp_path: Path, what: str):
    folder = tmp_path / "s"
    counts = simulated(2, 1, 10)[:, 0]
    write_run(folder, {FACTOR: "none"}, 0, counts[0])
    match what:
        case "data":
            write_run(folder, {FACTOR: "full"}, 0, counts[1], data="other")
            complaint = "was trained on other data"
        case "images":
            write_run(folder, {FACTOR: "full"}, 0, counts[1][:9])
            complaint = "tested on different images"
        case "classes":
            write_run(folder, {FACTOR: "full"}, 0, counts[1][:, :7, :7])
            complaint = "cannot be compared"
        case "same":
            run = write_run(folder, {FACTOR: "none"}, 1, counts[1])
            record = run.read_record() | {"seed": 0}
            run.write_record({k: v for k, v in record.items() if k != "format"})
            complaint = "are the same arm and seed 0"
        case _:
            complaint = "one arm only"
    assert complaint in refusal("compare", folder)


def test_curves_say_who_is_ahead_from_when_and_who_overfits(segbench: Segbench, tmp_path: Path):
    folder = tmp_path / "s"
    counts = simulated(2, 3, 12)
    shapes = {"none": [0.2, 0.4, 0.5, 0.4, 0.3, 0.2], "full": [0.1, 0.2, 0.3, 0.5, 0.6, 0.7]}
    for (value, val), seeds in zip(shapes.items(), counts, strict=True):
        for seed, one in enumerate(seeds):
            write_run(folder, {FACTOR: value}, seed, one, val=np.add(val, 0.002 * seed))
    plan_of(folder, {FACTOR: ["none", "full"]}, 3)
    printed = " ".join(segbench("compare", folder).split())
    assert "on val, full is ahead of none from epoch 4 on" in printed
    assert "none overfits from epoch 3: val falls by 0.300" in printed
    assert "full overfits" not in printed


@pytest.mark.slow
def test_ten_real_seeds_halved_in_all_ways_are_seldom_different(
    segbench: Segbench, scenes: Path, tmp_path: Path
):
    """The A/A check on real runs of one small network."""
    for seed in range(10):
        segbench(
            *("fit", "--data.root", scenes, "--model.width=8", "--data.crop_size=48"),
            *("--data.samples_per_epoch=32", "--data.batch_size=4", "--trainer.max_epochs=4"),
            *(f"--seed_everything={seed}", f"--run_dir=runs/aa/{seed}"),
        )
    counts = np.stack(
        [read.read_counts().counts.astype(np.int64) for read in map(run_at, range(10))]
    )
    different = 0
    for chosen in combinations(range(1, 10), 4):
        mine = [0, *chosen]  # 126 ways: a half and its other half are one
        rest = [i for i in range(10) if i not in mine]
        arms = [stats.score_arm(counts[half], metrics.mean_iou) for half in (mine, rest)]
        found = stats.estimate((-1, 1), arms, estimand="test_set")  # three test images
        different += stats.p_difference(found) <= 0.05
    assert different / 126 <= 0.06


def run_at(seed: int) -> Any:
    from segbench.runs import RunFolder

    return RunFolder(Path(f"runs/aa/{seed}"))


def test_a_bootstrap_that_disagrees_is_said(tmp_path: Path):
    study = read_study([study_of(tmp_path / "s", simulated(2, 5, 20), ["none", "full"])])
    (verdict,) = compare(study, rules_of(study, {}))
    se = (verdict.variance_images + verdict.variance_seeds) ** 0.5
    for factor, expected in ((1.0, 0), (1.19, 0), (1.21, 1), (0.79, 1)):
        said = warnings_of(study, [replace(verdict, bootstrap_se=factor * se)])
        assert sum("resampling" in line for line in said) == expected
    # it resamples seeds and images, so that it has nothing to say of one of them alone
    assert compare(study, rules_of(study, {"estimand": "test_set"}))[0].bootstrap_se is None


def test_seeds_that_spread_too_far_are_no_reason_for_more_images(tmp_path: Path):
    counts = np.zeros((2, 3, 4, 2, 2), dtype=np.int64)  # 4 groups: a verdict on these images only
    right = np.array([[20, 50, 80], [25, 45, 75]])[..., None]
    counts[..., 0, 0] = counts[..., 1, 1] = right
    counts[..., 0, 1] = counts[..., 1, 0] = 100 - right
    (verdict,) = judged(study_of(tmp_path / "s", counts, ["none", "full"]))
    assert (verdict.estimand, verdict.verdict) == ("test_set", "inconclusive")
    assert verdict.needed.groups_needed is None
    assert verdict.needed.advice.startswith("over 100 seeds per arm: ")
