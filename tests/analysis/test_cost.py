"""What arms cost, and ``segbench pick``, on studies whose costs are known."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulation import simulator
from studies_on_paper import plan_of, write_run

from segbench import metrics
from segbench.analysis import stats
from segbench.analysis.cost import costs, faster, on_front, pick, runtime_of, training
from segbench.analysis.study import StudyRuns, read_study
from segbench.analysis.timings import Timing, ratio
from segbench.runs import RunFolder

Segbench = Callable[..., str]
FACTOR = "config"


def benchmark(
    run: RunFolder, blocks_ms: Sequence[float], memory: float = 100.0, measured: str = "now"
) -> None:
    eager = {"blocks_ms": list(blocks_ms), "latency_ms": float(np.median(blocks_ms))}
    content = {"runtimes": {"eager": eager}, "macs": 10**9, "parameters": 10**6, "size_mb": 40.0}
    run.write_benchmark(content | {"peak_memory_mb": memory, "measured": measured})


@pytest.fixture
def study(tmp_path: Path) -> StudyRuns:
    """Three networks: good and slow, as good and fast, bad and small."""
    world = simulator().World(shift=0.0)
    rng = np.random.default_rng(0)
    good = world.study(rng, 1, 3, 20)[0]
    worst = good.copy()  # half of what was right is now class 0
    for k in range(1, good.shape[-1]):
        taken = good[..., k, k] // 2
        worst[..., k, k] -= taken
        worst[..., k, 0] += taken
    folder = tmp_path / "networks"
    slow, fast = [300.0, 310.0, 320.0], [30.0, 31.0, 32.0]
    for name, counts, size, blocks in (
        ("slow.yaml", good, 100.0, slow),
        ("fast.yaml", good, 50.0, fast),
        ("small.yaml", worst, 5.0, fast),
    ):
        for seed, one in enumerate(counts):
            benchmark(write_run(folder, {FACTOR: name}, seed, one, size_mb=size), blocks)
    plan_of(folder, {FACTOR: ["slow.yaml", "fast.yaml", "small.yaml"]}, 3, contrasts="all_pairs")
    return read_study([folder])


def test_the_front_is_what_nobody_beats_in_every_draw():
    rng = np.random.default_rng(0)
    quality = rng.integers(0, 4, (5, 40)).astype(float)  # ties too
    spent = [rng.integers(0, 4, (5, 40)).astype(float) for _ in range(2)]

    def beaten(a: int, draw: int) -> bool:
        own = [quality[a, draw], *(-cost[a, draw] for cost in spent)]
        for b in range(5):
            other = [quality[b, draw], *(-cost[b, draw] for cost in spent)]
            if all(o >= m for o, m in zip(other, own, strict=True)) and other != own:
                return True
        return False

    expected = [np.mean([not beaten(a, d) for d in range(40)]) for a in range(5)]
    assert on_front(quality, spent) == pytest.approx(expected)


def test_costs_with_their_intervals_and_the_front(study: StudyRuns):
    slow, fast, small = costs(study)
    one = stats.score_arm(study.totals(study.arms[0]), metrics.mean_iou)
    found = stats.estimate((1,), [one])
    assert slow.mean_iou == pytest.approx((one.mean, *stats.interval(found, 0.95)))
    assert slow.values["size"] == (100, 100, 100)
    assert slow.values["latency"][1:] == (300, 320)
    assert fast.values["latency"][0] == 31  # the median that segbench benchmark prints
    # as good as slow, and never dearer: it beats it but for the coin that seeds throw
    assert slow.on_front["size"] < fast.on_front["size"]
    assert small.on_front["size"] == 1
    assert slow.on_front["memory"] > 0  # all alike


def test_the_interval_of_a_score_stays_one(tmp_path: Path):
    counts = simulator().World(shift=0.0).study(np.random.default_rng(0), 1, 2, 8)[0]
    counts[0] = np.eye(8, dtype=int) * counts[0]  # of two seeds one knows all
    for seed, one in enumerate(counts):
        write_run(tmp_path, {FACTOR: "a.yaml"}, seed, one)
    (found,) = costs(read_study([tmp_path]))
    assert found.mean_iou[1:] == (0, 1)


def test_what_was_measured_in_the_place_of_eager_counts(study: StudyRuns, segbench: Segbench):
    for arm in study.arms:
        for seed in arm.seeds:
            for run in seed.runs:
                content = json.loads((run.path / "benchmark.json").read_text())
                content["runtimes"] = {"onnxruntime": content["runtimes"]["eager"]}
                run.write_benchmark({k: v for k, v in content.items() if k != "format"})
    assert "(onnxruntime)" in segbench("pick", study.folders[0])
    again = read_study(study.folders)
    assert runtime_of(again) == "onnxruntime"
    assert costs(again, runtime_of(again))[0].values["latency"][0] == 310


def test_training_costs_of_known_curves(tmp_path: Path):
    counts = simulator().World(shift=0.0).study(np.random.default_rng(0), 1, 2, 8)[0]
    hardware = {"cpu": "x", "gpus": ["g", "g"], "threads": 2, "accelerator": "cuda", "devices": 2}
    for seed, val in enumerate(([0.1, 0.48, 0.5, 0.4], [0.1, 0.2, 0.3, 0.5])):
        seconds = [100.0, 200.0, 300.0, 400.0]
        arm = {FACTOR: "a.yaml"}
        write_run(tmp_path, arm, seed, counts[seed], val=val, seconds=seconds, hardware=hardware)
    found = training(read_study([tmp_path]).arms[0])
    assert found.seconds == 400
    assert found.seconds_per_epoch == 100
    assert found.crops_per_second == 50
    assert found.epochs_to_best == (3 + 4) / 2
    assert found.seconds_to_best == (300 + 400) / 2
    assert found.seconds_to_enough == (200 + 400) / 2
    assert found.device_hours == pytest.approx(2 * 400 / 3600)


def test_a_seed_that_diverged_costs_nothing(tmp_path: Path):
    counts = simulator().World(shift=0.0).study(np.random.default_rng(0), 1, 3, 8)[0]
    for seed, (status, seconds) in enumerate(
        (("finished", 100.0), ("finished", 300.0), ("diverged", 7.0))
    ):
        write_run(
            *(tmp_path, {FACTOR: "a.yaml"}, seed, counts[seed]),
            status=status, val=[0.1], seconds=[seconds],
        )  # fmt: skip
    study = read_study([tmp_path])
    (found,) = costs(study)
    assert found.values["training"][0] == found.training.seconds == 200


def test_speeds_are_compared_round_by_round():
    slow, fast = Timing(np.array([2.0, 4.0, 6.0])), Timing(np.array([1.0, 2.0, 3.0]))
    assert ratio(slow, fast) == (2, 2, 2)  # the machine's drift cancels
    low, high = slow.interval()
    assert (low, high) == (2, 6)


def test_networks_of_one_call_are_paired_and_others_are_not(study: StudyRuns):
    slow, fast, _ = study.arms
    paired = faster(fast, slow, "eager")
    assert paired is not None
    assert paired[0] == pytest.approx(10)
    for seed in range(3):
        run = RunFolder(study.folders[0] / f"fast_seed-{seed}")
        benchmark(run, [30.0, 31.0, 32.0], measured="later")
    again = read_study(study.folders)
    apart = faster(again.arms[1], again.arms[0], "eager")
    assert apart is not None
    assert apart[0] == pytest.approx(10)
    assert apart[2] - apart[1] > paired[2] - paired[1]


def test_compare_says_what_a_difference_is_paid_with(segbench: Segbench, study: StudyRuns):
    folder = study.folders[0]
    for run in folder.glob("fast*"):
        content = json.loads((run / "benchmark.json").read_text())
        cheaper = {"macs": 10**9 // 4, "size_mb": 10.0}
        RunFolder(run).write_benchmark(content | cheaper)
    words = " ".join(segbench("compare", folder).split())
    assert (
        "fast against slow: 4 x fewer MACs, 10 x faster [10.00, 10.00] (eager), 4 x smaller, "
        "mean IoU +0.000: equivalent within 0.02."
    ) in words
    # measured in the other direction, and not said of one network trained twice
    assert (
        "small against fast: 4 x more MACs, no difference in speed shown, [1.00, 1.00] (eager), "
        "4 x larger, "
    ) in words
    assert "small against slow: " not in words


def test_a_pick_is_the_best_within_limits(study: StudyRuns):
    assert pick(study, {"latency": 100.0}).arm == "fast"
    found = pick(study, {"size": 60.0})
    assert list(found.within) == ["fast", "small"]
    assert found.probability == 1
    assert pick(study, {"size": 10.0}).within == {"small": 1}
    assert pick(study, {"size": 1.0}).arm is None
    both = pick(study, {"size": 200.0})
    assert sum(both.within.values()) == pytest.approx(1)
    assert both.within["slow"] > 0.2  # as good as fast: nobody can tell


def test_pick_in_words_and_numbers(segbench: Segbench, study: StudyRuns):
    folder = study.folders[0]
    printed = segbench("pick", folder, "--size=60MB", "--latency=0.05s", "--json=c.json")
    iou = metrics.mean_iou(study.arms[1].counts().sum(1)).mean()
    words = " ".join(printed.split())
    assert "within latency up to 50 ms and size up to 60 MB: fast" in words
    assert f"mean IoU {iou:.3f}" in words
    content: dict[str, Any] = json.loads(Path("c.json").read_text())
    assert content["pick"]["arm"] == "fast"
    assert [one["arm"] for one in content["arms"]] == ["slow", "fast", "small"]
    priced = segbench("pick", folder, "--price=2")
    assert f"{2 * 180 / 3600:.2f}" in priced
    with pytest.raises(SystemExit) as stop:
        segbench("pick", folder, "--size=1MB")
    assert stop.value.code == 1


def test_limits_need_a_unit_and_a_measurement(
    refusal: Segbench, segbench: Segbench, study: StudyRuns
):
    folder = study.folders[0]
    assert "50: give a number and its unit, ms or s" in refusal("pick", folder, "--latency=50")
    assert "--runtime: compile was not measured; one of eager" in refusal(
        "pick", folder, "--runtime=compile"
    )
    assert "x.pdf: give a name in .html or .svg or .png" in refusal(
        "pick", folder, "--figure=x.pdf"
    )
    for run in folder.glob("*/benchmark.json"):
        run.unlink()
    assert "run: segbench benchmark" in refusal("pick", folder, "--latency=50ms")
    assert "latency and memory are not measured" in segbench("pick", folder)
    damaged = folder / "fast_seed-0" / "benchmark.json"
    damaged.write_text("{")
    assert str(damaged) in refusal("pick", folder)


def test_the_figure_holds_every_arm_with_its_interval(segbench: Segbench, study: StudyRuns):
    from segbench.report.figures.cost import cost_figure

    found = costs(study)
    figure = cost_figure(found)
    points = [trace for trace in figure.data if trace.mode == "markers"]
    assert [(p.name, p.y[0]) for p in points] == [
        (one.arm, one.mean_iou[0]) for _, one in product(range(3), found)
    ]
    without_first = cost_figure(found[1:]).data  # one whose seeds all diverged has no cost
    colors = {p.name: p.marker.color for p in points}
    assert {p.name: p.marker.color for p in without_first if p.mode == "markers"} == {
        one.arm: colors[one.arm] for one in found[1:]
    }
    assert all(one.values["size"] == (one.values["size"][0],) * 3 for one in found)
    first = points[0].error_y
    assert points[0].y[0] - first.arrayminus[0] == pytest.approx(found[0].mean_iou[1])
    hostile = replace(found[0], arm="<b>x</b>")
    assert cost_figure([hostile]).data[1].name == "&lt;b&gt;x&lt;/b&gt;"
    segbench("pick", study.folders[0], "--figure=f.html")
    page = Path("f.html").read_text()
    assert "slow" in page
    assert 'src="http' not in page
