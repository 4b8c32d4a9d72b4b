"""Studies of which a part is missing, and runs that no plan names."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from comparisons import FACTOR, Counts, Segbench, judged, simulated, study_of
from studies_on_paper import plan_of, write_run

from segbench.analysis.compare import compare, per_class
from segbench.analysis.questions import completed_look, rules_of
from segbench.analysis.study import read_study
from segbench.runs import find_runs
from segbench.study import planning
from segbench.study.plan import arm_name
from segbench.study.spec import Sweep

SWEEP = """
method: grid
parameters: {{config: {{values: {arms}}}, seed_everything: {{values: [0, 1, 2]}}}}
command: [segbench, fit, --config, "${{args_json}}"]
plan: {{}}
"""
RANDOM = """
method: random
run_cap: 6
parameters:
  model.aspp: {values: [false, true]}
  data.augmentation: {values: [none, flip, full]}
  model.lr: {min: 0.001, max: 0.1}
  seed_everything: {values: [0]}
command: [segbench, fit, --config, "${args_json}"]
plan: {}
"""


def three(folder: Path, **plan: Any) -> Path:
    counts = np.concatenate([simulated(2, 3, 20, shift=0.6), simulated(1, 3, 20, seed=1)])
    return study_of(folder, counts, ["a.yaml", "b.yaml", "c.yaml"], "config", **plan)


def without(folder: Path, name: str) -> Path:
    for run in folder.glob(f"{name}_seed-*"):
        shutil.rmtree(run)
    return folder


def test_an_arm_without_runs_stays_in_the_family(segbench: Segbench, tmp_path: Path):
    whole = judged(three(tmp_path / "whole"))[0]
    folder = without(three(tmp_path / "part"), "c")
    (left,) = judged(folder)
    assert (left.arm, left.ci_low, left.ci_level) == ("b", whole.ci_low, 0.975)
    assert left.p_difference_holm == pytest.approx(min(1, 2 * left.p_difference))
    printed = " ".join(segbench("compare", folder).split())
    assert "warning: c: planned, and none of its seeds is finished" in printed


def test_the_family_stays_whole_for_classes_and_with_diverged_seeds(tmp_path: Path):
    counts = np.concatenate([simulated(2, 3, 20, shift=0.6), simulated(1, 3, 20, seed=1)])
    truth = counts[1, 2].sum(-1)
    counts[1, 2] = 0
    counts[1, 2, ..., truth.sum(0).argmax()] = truth
    arms = ["a.yaml", "b.yaml", "c.yaml"]
    folder = without(study_of(tmp_path / "s", counts, arms, "config"), "c")
    study = read_study([folder])
    rules = rules_of(study, {"margin": 0.2})
    (verdict,) = compare(study, rules)
    everything = replace(
        study,
        arms=tuple(
            replace(arm, seeds=tuple(replace(seed, diverged=False) for seed in arm.seeds))
            for arm in study.arms
        ),
    )
    (whole,) = compare(everything, rules)
    assert whole.ci_level == 1 - 0.05 / 2
    assert verdict.verdict_with_diverged == whole.verdict
    assert {one.ci_level for one in per_class(study, rules)} == {1 - 0.05 / (2 * 8)}


def test_an_extension_that_has_not_run_changes_no_verdict(segbench: Segbench, tmp_path: Path):
    folder = study_of(tmp_path / "s", simulated(2, 3, 20), ["a.yaml", "b.yaml"], "config")
    (before,) = judged(folder)
    sweep = yaml.safe_load(SWEEP.format(arms="[a.yaml, b.yaml, c.yaml, d.yaml]"))
    wanted = planning.plan_study(
        Sweep(folder / "sweep.yaml", sweep), folder, planning.tested_in(folder)
    )
    planning.settled_plan(wanted, extend=True).write()
    (after,) = judged(folder)
    assert (after.ci_low, after.ci_level) == (before.ci_low, before.ci_level)
    assert "planned, and none" not in segbench("compare", folder)
    study = read_study([folder])
    complete = completed_look(study)
    assert complete is not None
    assert [arm.name for arm in complete.arms] == ["a", "b"]


def test_a_random_search_is_no_grid(tmp_path: Path):
    one = simulated(1, 1, 20)[0, 0]
    write_run(tmp_path / "dummy", {}, 0, one)
    folder = tmp_path / "s"
    plan = planning.plan_study(Sweep(folder / "sweep.yaml", yaml.safe_load(RANDOM)), folder,
                      planning.tested_in(tmp_path / "dummy"))  # fmt: skip
    plan.write()
    for cell, seeds in zip(plan.cells, simulated(6, 1, 20), strict=True):
        write_run(folder, cell.arm, cell.seed, seeds[0])
    assert len(judged(folder)) == 5  # each against the first, and no effects
    drawn_first = arm_name(plan.cells[0].arm)
    for run in find_runs(folder):
        if arm_name(run.read_record()["arm"]) == drawn_first:
            shutil.rmtree(run.path)
    assert len(judged(folder)) == 4  # no arm is the planned baseline


def test_nothing_else_takes_the_place_of_the_baseline(refusal: Segbench, tmp_path: Path):
    line = refusal("compare", without(three(tmp_path / "s"), "a"))
    assert "no pair of its plan has finished runs in both" in line


def grid(folder: Path, **plan: Any) -> Path:
    levels = [(False, "none"), (False, "full"), (True, "none"), (True, "full")]
    for (aspp, policy), seeds in zip(levels, simulated(4, 3, 20), strict=True):
        for seed, one in enumerate(seeds):
            write_run(folder, {"model.aspp": aspp, FACTOR: policy}, seed, one)
    plan_of(folder, {"model.aspp": [False, True], FACTOR: ["none", "full"]}, 3, **plan)
    return folder


def test_crossed_effects_take_all_arms(refusal: Segbench, tmp_path: Path):
    folder = grid(tmp_path / "s")
    for run in folder.glob("aspp-True_augmentation-full*"):
        shutil.rmtree(run)
    line = refusal("compare", folder)
    assert "no finished run of 1 arm, the first is on, full" in line


def test_effects_that_are_named_alike_are_told_apart(segbench: Segbench, tmp_path: Path):
    folder = tmp_path / "s"
    for number, seeds in enumerate(simulated(4, 3, 20)):
        for seed, one in enumerate(seeds):
            arm = {"model.aspp": number > 1, "model.pretrained": number % 2 == 1}
            write_run(folder, arm, seed, one)
    plan_of(folder, {"model.aspp": [False, True], "model.pretrained": [False, True]}, 3)
    printed = segbench("compare", folder, "--markdown=verdicts.md")
    rows = [line for line in printed.splitlines() if "ASPP: on - off" in line]
    assert len(rows) == 2  # the verdict and the classes
    rows = [line for line in printed.splitlines() if "pretrained: on - off" in line]
    assert len(rows) == 2
    assert "| ASPP: on - off |" in Path("verdicts.md").read_text()


def test_a_class_that_no_test_image_has_weighs_nothing(segbench: Segbench, tmp_path: Path):
    counts = simulated(2, 3, 20)
    counts[..., 7, :] = 0
    folder = study_of(tmp_path / "s", counts, ["none", "full"])
    printed = " ".join(segbench("compare", folder).split())
    assert "warning: no test image has class 7: left out of all means" in printed
    assert "class 7 (0)" not in printed


def test_all_pairs_of_a_grid_are_pairs(segbench: Segbench, tmp_path: Path):
    folder = grid(tmp_path / "s", contrasts="all_pairs")
    assert [(v.baseline, v.arm) for v in judged(folder)][:2] == [
        ("off, none", "off, full"),
        ("off, none", "on, none"),
    ]
    assert len(judged(folder)) == 6
    assert "; " in segbench("compare", folder).split("not shown to be worse: ")[1].split("\n")[0]


def by_hand(folder: Path, arm: dict[str, Any], seed: int, counts: Counts, **config: Any) -> None:
    made = write_run(folder / "made", arm, seed, counts, config=config)
    made.path.rename(folder / f"run {len(list(folder.iterdir()))}")


def test_networks_given_by_their_first_config_are_arms(tmp_path: Path):
    for architecture, seeds in zip(("unet", "deeplab"), simulated(2, 2, 20), strict=True):
        for seed, one in enumerate(seeds):
            config = {"model.architecture": architecture, "data.seed": seed}
            by_hand(tmp_path, {}, seed, one, **config)
    (tmp_path / "made").rmdir()
    study = read_study([tmp_path])
    assert [arm.name for arm in study.arms] == ["unet", "deeplab"]
    assert [len(arm.seeds) for arm in study.arms] == [2, 2]


def test_what_was_not_given_has_the_value_of_its_configuration(tmp_path: Path):
    for seed, (one, other) in enumerate(simulated(2, 2, 20).swapaxes(0, 1)):
        by_hand(tmp_path, {FACTOR: "none"}, seed, one)
        by_hand(tmp_path, {}, seed, other, **{FACTOR: "flip"})
    (verdict,) = judged(tmp_path)
    assert (verdict.baseline, verdict.arm) == ("none", "flip")


def test_files_of_one_name_are_told_apart_by_what_they_say(tmp_path: Path):
    for architecture, seeds in zip(("unet", "deeplab"), simulated(2, 2, 20), strict=True):
        for seed, one in enumerate(seeds):
            arm = {"config": f"{architecture}/own.yaml"}
            by_hand(tmp_path, arm, seed, one, **{"model.architecture": architecture})
    (tmp_path / "made").rmdir()
    assert [arm.name for arm in read_study([tmp_path]).arms] == ["own, unet", "own, deeplab"]


def test_a_key_that_older_runs_lack_is_no_factor(tmp_path: Path):
    for value, seeds in zip(("none", "full"), simulated(2, 4, 20), strict=True):
        for seed, one in enumerate(seeds):
            new = {"trainer.new_key": True} if seed > 1 else {}
            by_hand(tmp_path, {FACTOR: value}, seed, one, **new)
    (verdict,) = judged(tmp_path)
    assert verdict.seeds == 4


def test_a_failed_run_without_a_configuration_stops_nobody(tmp_path: Path):
    folder = tmp_path / "s"
    for value, seeds in zip(("none", "full"), simulated(2, 3, 20), strict=True):
        for seed, one in enumerate(seeds):
            write_run(folder, {FACTOR: value}, seed, one)
    failed = write_run(folder, {FACTOR: "flip"}, 0, one, status="failed")
    failed.config.unlink()
    (verdict,) = judged(folder)
    assert (verdict.baseline, verdict.arm, verdict.seeds) == ("none", "full", 3)


def test_folds_that_all_lack_are_missed(refusal: Segbench, tmp_path: Path):
    counts = simulated(2, 2, 20)
    for value, seeds in zip(["none", "full"], counts, strict=True):
        for seed, one in enumerate(seeds):
            for fold in range(2):
                chosen = slice(4 * fold, 4 * fold + 4)
                names = [f"image_{i}" for i in range(20)][chosen]
                write_run(
                    *(tmp_path / "s", {FACTOR: value}, seed, one[chosen]),
                    images=names, fold=fold, config={"data.folds": 5},
                )  # fmt: skip
    assert "none of its runs is finished and tested" in refusal("compare", tmp_path / "s")
