"""``segbench augmentation`` on run folders written by hand, each with a planted cause."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from simulation import simulator
from studies_on_paper import plan_of, write_run

from segbench import metrics
from segbench.analysis.augmentation import Value, explain, word_of
from segbench.analysis.compare import Contrast
from segbench.analysis.questions import rules_of
from segbench.analysis.recipes import asked_of, recipes_of
from segbench.analysis.study import read_study
from segbench.probes import PolicyAudit
from segbench.runs import RunFolder

Segbench = Callable[..., str]
Counts = NDArray[np.int64]
FACTOR = "data.augmentation"
SEEDS = 4

SOUND = PolicyAudit(
    draws=64,
    scale=(1.0, 0.65, 1.35),
    image_changed=0.9,
    mask_changed=0.4,
    shares_before=[1 / 8] * 8,
    shares_after=[1 / 8] * 8,
    ignore_before=0.0,
    ignore_after=0.01,
    new_ids=[],
    wrong_labels=0.0,
    interpolated=0.0,
    recoloured=0.0,
    border_is_class=0.0,
    apart=0.0,
)
SMALL = replace(SOUND, scale=(0.45, 0.33, 0.87))
FADED = replace(SOUND, interpolated=0.02, new_ids=[1.0])


def base(seed: int = 0, images: int = 30) -> Counts:
    """What the baseline's seeds score [S, n, K, K]."""
    counts: Counts = (
        simulator().World(shift=0.0).study(np.random.default_rng(seed), 1, SEEDS, images)[0]
    )
    return counts


def worse(counts: Counts, share: float) -> Counts:
    """A share of every class's hits now goes to class 0; of class 0's, to class 1."""
    counts = counts.copy()
    for k in range(counts.shape[-1]):
        taken = np.round(counts[..., k, k] * share).astype(np.int64)
        counts[..., k, k] -= taken
        counts[..., k, int(k == 0)] += taken
    return counts


class Paper:
    """Writes the arms of a study one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts = base()

    def arm(
        self,
        policy: str,
        lost: float = 0.0,
        clean: float = 0.6,
        train: float = 0.62,
        val: float = 0.45,
        audit: PolicyAudit | None = None,
        spread: float = 0.002,
        **given: Any,
    ) -> list[RunFolder]:
        levels = {FACTOR: policy, **given.pop("levels", {})}
        counts = worse(self.counts, lost)
        runs = []
        for seed, one in enumerate(counts):
            noise = spread * (seed - 1.5)
            run = write_run(
                *(self.folder, levels, seed, one),
                val=[0.1, val + noise, 0.2],  # the best epoch is the second
                train_clean=[0.1, clean - noise, 0.9],
                train=[0.1, train + noise / 2, 0.9],
                **given,
            )
            if audit:
                run.write_probe({"policy": audit.as_json()})
            runs.append(run)
        return runs


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    return Paper(tmp_path / "aug")


def told(segbench: Segbench, folder: Path) -> tuple[str, dict[str, Any]]:
    printed = segbench("augmentation", folder, "--no-measure", "--json=e.json")
    content: dict[str, Any] = json.loads(Path("e.json").read_text())
    return " ".join(printed.split()), content


def words(content: dict[str, Any]) -> dict[str, str]:
    return {gap["arm"]: gap["word"] for gap in content["gaps"]}


def test_a_scale_mismatch_is_found_with_its_evidence(segbench: Segbench, paper: Paper):
    paper.arm("none")
    hurt: dict[str, Any] = {"lost": 0.2, "val": 0.35, "audit": SMALL}
    paper.arm("full", **hurt)
    paper.arm("full_minus_color", **hurt)
    paper.arm("full_minus_scale", lost=0.01, audit=SOUND)
    paper.arm("scale", **hurt)
    plan_of(
        paper.folder,
        {FACTOR: ["none", "full", "full_minus_color", "full_minus_scale", "scale"]},
        SEEDS,
    )
    printed, content = told(segbench, paper.folder)
    (diagnosis,) = content["diagnosis"]  # the others are its parts
    causes = {cause["name"]: cause["status"] for cause in diagnosis["causes"]}
    assert causes == {
        "label damage": "ruled out",
        "scale mismatch": "shown",
        "a single part": "not shown",
        "underfitting": "ruled out",
        "a shift of what it learns from": "shown",
    }
    mean = metrics.mean_iou(paper.counts.sum(1)).mean()
    lost = mean - metrics.mean_iou(worse(paper.counts, 0.2).sum(1)).mean()
    restored = lost - (mean - metrics.mean_iou(worse(paper.counts, 0.01).sum(1)).mean())
    assert f"(full against none) changes the mean IoU of UNet by {-lost:+.3f} [" in printed
    assert (
        "Cause: scale mismatch (crops show objects at 0.45 of their size in evaluation; leaving "
        f"scale out restores {restored:+.3f} ["
    ) in printed
    assert "Not label damage (labels are sound in 64 crops); not underfitting (the clean" in printed
    assert words(content)["full"] == "shift"
    assert words(content)["full_minus_scale"] != "shift"
    by_kind = [(e["kind"], e["what"], e["verdict"]) for e in content["effects"]]
    assert ("leaving out", "scale", "better") in by_kind
    assert ("leaving out", "color", "equivalent") in by_kind
    assert ("baseline", "scale", "worse") in by_kind


def test_a_mismatch_that_leaving_scale_out_does_not_mend_is_no_cause(
    segbench: Segbench, paper: Paper
):
    paper.arm("none")
    hurt: dict[str, Any] = {"lost": 0.2, "val": 0.35, "spread": 0.03}
    paper.arm("full", **hurt, audit=SMALL)
    paper.arm("full_minus_scale", **hurt, audit=SOUND)
    printed, content = told(segbench, paper.folder)
    causes = {cause["name"]: cause["status"] for cause in content["diagnosis"][0]["causes"]}
    assert causes == {
        "label damage": "ruled out",
        "scale mismatch": "not shown",
        "underfitting": "not shown",  # seeds differ too much to tell
    }
    assert "No cause is shown. Not label damage" in printed
    assert "but leaving scale out changes +0.000 [" in printed


def test_the_mismatch_alone_is_a_suspicion(segbench: Segbench, paper: Paper):
    """No arm leaves scale out, so that no interval speaks of it."""
    paper.arm("none")
    paper.arm("scale_homework", lost=0.2, val=0.35, audit=SMALL)
    printed, content = told(segbench, paper.folder)
    causes = {cause["name"]: cause["status"] for cause in content["diagnosis"][0]["causes"]}
    assert causes["scale mismatch"] == "suspected"
    assert "suspected" not in printed  # the gaps show a shift, which is named
    assert "Cause: a shift of what it learns from (clean training images do not fall)" in printed


def test_underfitting_and_what_longer_training_does(segbench: Segbench, paper: Paper):
    def budget(epochs: int) -> dict[str, Any]:
        return {"levels": {"trainer.max_epochs": epochs}, "steps": 10 * epochs}

    paper.arm("none", lost=0.05, **budget(30))
    paper.arm("none", **budget(90))
    paper.arm("full", lost=0.2, clean=0.4, train=0.41, val=0.35, audit=SOUND, **budget(30))
    paper.arm("full", lost=0.02, clean=0.58, train=0.6, val=0.44, audit=SOUND, **budget(90))
    printed, content = told(segbench, paper.folder)
    short, long = content["diagnosis"]
    assert words(content)["full, 30"] == "underfits"
    causes = {cause["name"]: cause["status"] for cause in short["causes"]}
    assert causes["underfitting"] == "shown"
    assert causes["scale mismatch"] == "ruled out"
    assert "Cause: underfitting (the clean training score changes by -0.200 [" in printed
    (gap,) = [e for e in content["effects"] if e["kind"] == "budget"]
    m = {
        share: metrics.mean_iou(worse(paper.counts, share).sum(1)).mean()
        for share in (0.0, 0.02, 0.05, 0.2)
    }
    # each against the baseline that was trained as long
    assert gap["difference"] == pytest.approx((m[0.02] - m[0]) - (m[0.2] - m[0.05]))
    pairs = {(e["arm"], e["baseline"]) for e in content["effects"] if e["kind"] == "baseline"}
    assert pairs == {("full, 30", "none, 30"), ("full, 90", "none, 90")}
    assert (gap["what"], gap["verdict"]) == ("3 x the steps", "better")
    assert "With 3 x the steps its difference from the baseline changes by" in long["sentence"]
    assert "it needs longer training than the baseline" in long["sentence"]


def test_label_damage_is_named_whatever_the_scores(segbench: Segbench, paper: Paper):
    paper.arm("none", audit=replace(SOUND, image_changed=0, mask_changed=0))
    paper.arm("full", lost=0.2, val=0.35, audit=FADED)
    paper.arm("flip", audit=FADED)
    printed, content = told(segbench, paper.folder)
    assert words(content) == {"none": "", "full": "label damage", "flip": "label damage"}
    flip, full = content["diagnosis"]
    assert full["causes"][0]["status"] == "shown"
    assert (
        "Cause: label damage (masks are interpolated; ids appear that were not there: 1)" in printed
    )
    assert flip["outcome"] == "no difference"
    assert "Its labels are damaged: masks are interpolated" in flip["sentence"]


def test_a_policy_that_changes_nothing_is_called_so(segbench: Segbench, paper: Paper):
    nothing = replace(SOUND, image_changed=0.0, mask_changed=0.0)
    paper.arm("none", audit=nothing)
    paper.arm("flip", audit=nothing)
    printed, content = told(segbench, paper.folder)
    assert content["policies"]["flip"]["no_op"]
    assert "The policy changes nothing: it is a no-op." in printed


def test_nothing_is_blamed_where_no_harm_is_shown(segbench: Segbench, paper: Paper):
    paper.arm("none", audit=SOUND)
    paper.counts = base(seed=1)  # other networks: the differences are noise
    paper.arm("full", lost=0.01, audit=SMALL)
    printed, content = told(segbench, paper.folder)
    (diagnosis,) = content["diagnosis"]
    assert diagnosis["outcome"] == "inconclusive"
    assert diagnosis["causes"] == []
    assert "Harm is not shown, so no cause of any is named." in printed
    assert "Cause" not in printed
    assert words(content)["full"] == "no difference shown"


def test_what_helps_is_said_with_the_parts_it_needs(segbench: Segbench, paper: Paper):
    paper.arm("none", lost=0.2)
    paper.arm("full")
    paper.arm("full_minus_flip", lost=0.1)
    paper.arm("full_minus_color", lost=0.0)
    printed, content = told(segbench, paper.folder)
    assert content["diagnosis"][0]["outcome"] == "helps"
    assert words(content)["full"] == "works"
    assert "Leaving flip out costs -0." in printed
    assert "Leaving color" not in printed
    assert "Cause" not in printed


def test_a_fall_on_val_alone_is_said_to_be_one(segbench: Segbench, paper: Paper):
    paper.arm("none")
    paper.arm("full", val=0.3)
    printed, content = told(segbench, paper.folder)
    (diagnosis,) = content["diagnosis"]
    assert (diagnosis["outcome"], diagnosis["where"]) == ("hurts", "val")
    assert "On these val images it is worse: -0.150 [" in printed
    assert "Not looked at: label damage, scale mismatch." in printed


def test_one_seed_is_not_assessable(segbench: Segbench, tmp_path: Path):
    for policy in ("none", "full"):
        write_run(tmp_path / "s", {FACTOR: policy}, 0, base()[0])
    printed, content = told(segbench, tmp_path / "s")
    assert words(content)["full"] == "not assessable"
    assert content["gaps"][1]["changes"]["val"] == {"value": 0, "low": None, "high": None}
    assert "one seed: run more" in printed


def test_a_diverged_arm_leaves_holes_and_no_nan(segbench: Segbench, paper: Paper):
    paper.arm("none")
    paper.arm("full", status="diverged")
    printed, content = told(segbench, paper.folder)
    assert content["gaps"][1]["val"] is None
    assert "nan" not in printed
    assert "all seeds of an arm diverged" in printed


def test_gaps_are_those_of_the_tested_epoch_with_welchs_interval(paper: Paper):
    paper.arm("none")
    paper.arm("full", clean=0.5, val=0.4, train=0.45)
    study = read_study([paper.folder])
    none, full = explain(study, rules_of(study, {})).gaps
    assert (none.train, none.train_clean, none.val) == pytest.approx((0.62, 0.6, 0.45))
    assert full.test == pytest.approx(metrics.mean_iou(paper.counts.sum(1)).mean())
    noise = 0.002 * (np.arange(SEEDS) - 1.5)
    expected = scipy_stats.ttest_ind(0.5 - noise, 0.6 - noise, equal_var=False)
    interval = expected.confidence_interval(0.95)
    change = full.changes["train_clean"]
    assert change.value == pytest.approx(-0.1)
    assert (change.low, change.high) == pytest.approx((interval.low, interval.high))
    gap = (0.5 - 2 * noise) - 0.4, (0.6 - 2 * noise) - 0.45
    interval = scipy_stats.ttest_ind(*gap, equal_var=False).confidence_interval(0.95)
    generalisation = full.changes["generalisation"]
    assert (generalisation.low, generalisation.high) == pytest.approx(tuple(interval))


def test_all_questions_are_one_family(segbench: Segbench, paper: Paper):
    for policy, lost in (("none", 0.0), ("full", 0.1), ("full_minus_flip", 0.15), ("flip", 0.05)):
        paper.arm(policy, lost)
    _, content = told(segbench, paper.folder)
    m = {
        lost: metrics.mean_iou(worse(paper.counts, lost).sum(1)).mean()
        for lost in (0.0, 0.1, 0.15, 0.05)
    }
    found = {(e["kind"], e["arm"]): e["difference"] for e in content["effects"]}
    assert found == pytest.approx(
        {
            ("baseline", "full"): m[0.1] - m[0],
            ("baseline", "full_minus_flip"): m[0.15] - m[0],
            ("baseline", "flip"): m[0.05] - m[0],
            ("leaving out", "full_minus_flip"): m[0.15] - m[0.1],
        }
    )
    assert {e["ci_level"] for e in content["effects"]} == {1 - 0.05 / 4}


def test_strengths_are_held_against_the_usual_one(segbench: Segbench, paper: Paper):
    strength = "data.augmentation_strength"
    for value, lost in ((0.0, 0.0), (0.5, 0.05), (1.0, 0.1)):
        paper.arm("full", lost, levels={strength: value})
    study = read_study([paper.folder])
    recipes = recipes_of(study)
    assert [one.clean for one in recipes.of] == [True, False, False]
    asked = [(a.kind, a.recipe.strength, a.what) for a in asked_of(recipes)]
    assert asked == [("baseline", 0.5, "full"), ("baseline", 1.0, "full"), ("strength", 0.5, "0.5")]
    printed, _ = told(segbench, paper.folder)
    assert "At strength 0.5 it changes by +0." in printed


def test_a_baseline_differs_in_augmentation_alone(paper: Paper, refusal: Segbench):
    paper.arm("none", config={"model.lr": 0.1})
    paper.arm("full", config={"model.lr": 0.2})
    line = refusal("augmentation", paper.folder, "--no-measure")
    assert "no two arms differ in data.augmentation (or its strength) alone (none, full)" in line
    paper.arm("flip", config={"model.lr": 0.2})
    recipes = recipes_of(read_study([paper.folder]))
    names = {one.name: recipes.baseline(one) for one in recipes.of}
    assert names["none"] is names["flip"] is None
    assert names["full"] is not None
    assert names["full"].name == "flip"  # nothing clean beside it: the first


def test_a_damaged_probe_is_refused_by_name(paper: Paper, refusal: Segbench):
    (run, *_) = paper.arm("none")
    paper.arm("full")
    for content in ("{", "[]", '{"policy": {"draws": 3}}', '{"affinity": {"crops": 3}}'):
        run.probe.write_text(content)
        line = refusal("augmentation", paper.folder, "--no-measure")
        assert line.startswith(f"segbench: {run.probe}: ")
        assert "remove it and measure again" in line


def test_affinity_and_diversity_by_hand(segbench: Segbench, paper: Paper):
    baselines = paper.arm("none", loss=0.5)
    paper.arm("full", loss=1.25)
    plain = np.zeros((8, 8), int)
    np.fill_diagonal(plain, 100)
    ratios = []
    for number, run in enumerate(baselines):
        moved = plain.copy()
        moved[2, 2], moved[2, 3] = 60 - number, 40 + number  # IoU of 2 and 3 fall, others stay
        iou = (60 - number) / 100, 100 / (140 + number)
        ratios.append((6 + sum(iou)) / 8)
        row = {"augmentation": "full", "strength": 1.0, "counts": moved.tolist()}
        run.write_probe({"affinity": {"crops": 8, "plain": plain.tolist(), "policies": [row]}})
    printed, content = told(segbench, paper.folder)
    (found,) = content["affinity"]
    assert found["affinity"]["value"] == pytest.approx(np.mean(ratios))
    interval = scipy_stats.ttest_1samp(ratios, 0).confidence_interval(0.95)
    bounds = found["affinity"]["low"], found["affinity"]["high"]
    assert bounds == pytest.approx((interval.low, interval.high))
    assert found["diversity"]["value"] == pytest.approx(2.5)
    assert found["of_classes"]["class 2"] == pytest.approx((60 - 1.5) / 100)
    assert found["of_classes"]["class 7"] == 1
    assert "class 2 0.58, class 3 0.71" in printed


CHANGES = ("train", "train_clean", "val", "practice", "generalisation")


@pytest.mark.parametrize(
    ("verdict", "falls", "rises", "expected"),
    [
        ("better", (), (), "works"),
        ("better and equivalent", ("val",), (), "works"),
        ("equivalent", (), (), "no difference"),
        ("inconclusive", ("train_clean",), (), "no difference shown"),
        ("not assessable", ("val",), (), "not assessable"),
        ("worse", ("train_clean",), (), "underfits"),
        ("inconclusive", ("val", "train_clean"), (), "underfits"),
        ("worse", ("train_clean",), ("practice",), "shift"),
        ("worse", (), ("generalisation",), "shift"),
        ("worse", (), (), "worse"),
    ],
)
def test_the_words_of_the_gap_table(
    verdict: str, falls: tuple[str, ...], rises: tuple[str, ...], expected: str, paper: Paper
):
    paper.arm("none")
    paper.arm("full")
    study = read_study([paper.folder])
    effect: Contrast = explain(study, rules_of(study, {})).effects[0].contrast
    changes = {
        key: Value(0.0, -0.1, -0.01) if key in falls else
        Value(0.0, 0.01, 0.1) if key in rises else Value(0.0, -0.1, 0.1)
        for key in CHANGES
    }  # fmt: skip
    judged = replace(effect, verdict=verdict)
    assert word_of(judged, changes, [])[0] == expected
    assert word_of(judged, changes, ["masks are interpolated"])[0] == "label damage"
