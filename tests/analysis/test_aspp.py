"""``segbench aspp`` on run folders written by hand: which taps see what, and what is said of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from simulation import simulator
from studies_on_paper import write_run

from segbench import metrics
from segbench.models import build_model
from segbench.models.aspp import ASPP
from segbench.taps import DEFAULTS, pyramid_of, stride_of

Segbench = Callable[..., str]
Counts = NDArray[np.int64]
SEEDS, IMAGES = 3, 12
RATES: dict[str, dict[str, Any]] = {
    "off": {"model.aspp": False, "model.output_stride": 16},
    "fitted": {"model.aspp": True, "model.aspp_rates": [3, 6, 9], "model.output_stride": 16},
    "homework": {"model.aspp": True, "model.aspp_rates": [12, 24, 36], "model.output_stride": 32},
    "no_context": {"model.aspp": True, "model.aspp_rates": [1, 1, 1], "model.output_stride": 16},
}


def counts_of(shift: float = 0.0) -> Counts:
    """Of two arms that differ by a shift of recall [2, S, n, K, K]."""
    world = simulator().World(shift=shift)
    counts: Counts = world.study(np.random.default_rng(0), 2, SEEDS, IMAGES)
    return counts


def write_study(
    folder: Path, arms: dict[str, Counts], size: tuple[int, int] = (750, 1000), **given: Any
) -> Path:
    for name, counts in arms.items():
        for seed, one in enumerate(counts):
            config = {"model.architecture": "deeplab", **RATES[name], **given}
            write_run(folder, {"config": f"{name}.yaml"}, seed, one, config=config)
    truths = folder / "test" / "truth"
    truths.mkdir(parents=True)
    for number in range(IMAGES):
        Image.new("L", (size[1], size[0])).save(truths / f"image_{number:03d}.png")
    return folder


def told(segbench: Segbench, folder: Path) -> tuple[str, dict[str, Any]]:
    printed = segbench("aspp", folder, "--no-measure", "--json=a.json")
    content: dict[str, Any] = json.loads(Path("a.json").read_text())
    return " ".join(printed.split()), content


def test_the_homeworks_rates_on_its_images(segbench: Segbench, tmp_path: Path):
    counts = counts_of()[0]
    folder = write_study(tmp_path / "s", dict.fromkeys(RATES, counts))
    printed, content = told(segbench, folder)
    arms = {arm["arm"]: arm for arm in content["arms"]}
    assert list(arms) == ["fitted", "homework", "no_context"]
    homework = arms["homework"]
    assert (homework["crop_map"], homework["maps"]) == (8, [[24, 32], [24, 32]])
    found = [(b["trained"], b["idle"]) for b in homework["branches"]]
    assert found == [(1, 8), (1, 2), (1, 0)]
    energies = [b["energy_as_drawn"] for b in homework["branches"]]
    assert energies == pytest.approx([3.5 / 4.5, 0.5 / 1.5, 0])
    assert [b["seen_in_training"] for b in homework["branches"]] == pytest.approx([1 / 9] * 3)
    assert homework["branches"][0]["seen_in_evaluation"] == pytest.approx(4.5 / 9)
    assert [(b["trained"], b["idle"]) for b in arms["fitted"]["branches"]] == [(9, 0)] * 3
    # (1 + 2 x 7/16) squared over nine, at rate 9 on a map of 16
    assert arms["fitted"]["branches"][2]["seen_in_training"] == pytest.approx((1 + 7 / 8) ** 2 / 9)
    assert (
        "homework: ASPP's dilated branches could not help here: their rates 12, 24, 36 saw only "
        "padding in training, on the 8x8 maps of its crops, and untrained weights at test: as "
        "drawn 78%, 33%, 0% of the branches' energy. What those taps do to its mean IoU was not "
        "measured."
    ) in printed
    assert "fitted: every tap saw image in training (39% of taps and places" in printed
    assert "no_context: the control for capacity" in printed


def test_each_aspp_is_held_against_none_and_against_its_capacity(
    segbench: Segbench, tmp_path: Path
):
    low, high = counts_of(shift=0.5)
    arms = {"off": low, "fitted": high, "homework": low, "no_context": low}
    printed, content = told(segbench, write_study(tmp_path / "s", arms))
    gain = (metrics.mean_iou(high.sum(1)) - metrics.mean_iou(low.sum(1))).mean()
    found = {(c["arm"], c["against"]): c for c in content["comparisons"]}
    assert {key: c["difference"] for key, c in found.items()} == pytest.approx(
        {
            ("fitted", "off"): gain,
            ("fitted", "control"): gain,
            ("homework", "off"): 0,
            ("homework", "control"): 0,
            ("no_context", "off"): 0,
        }
    )
    assert {c["ci_level"] for c in found.values()} == {1 - 0.05 / 5}
    assert found["fitted", "control"]["verdict"] == "better"
    assert found["homework", "off"]["strides"] == [32, 16]
    assert "Against off (without ASPP; the stride differs too, 32 and 16): +0.000 [" in printed
    assert "Against off (without ASPP): +0." in printed  # fitted has the stride of off


def test_a_gain_of_branches_that_saw_nothing_is_not_theirs(segbench: Segbench, tmp_path: Path):
    low, high = counts_of(shift=0.5)
    printed, _ = told(segbench, write_study(tmp_path / "s", {"off": low, "homework": high}))
    assert "homework: what helped here is not the dilated branches: their rates 12" in printed
    assert "could not help" not in printed


def test_networks_without_their_idle_taps(segbench: Segbench, tmp_path: Path):
    counts = counts_of()[0]
    folder = write_study(tmp_path / "s", {"off": counts, "homework": counts})
    better = []
    for seed, one in enumerate(counts):
        zeroed = one.copy()
        for k in range(8):  # a tenth of what every class misses is found
            missed = zeroed[:, k].sum(-1) - zeroed[:, k, k]
            zeroed[:, k] -= np.where(np.arange(8) == k, 0, zeroed[:, k] // 10)
            zeroed[:, k, k] += missed - (zeroed[:, k].sum(-1) - zeroed[:, k, k])
        better.append(zeroed)
        (run,) = folder.glob(f"homework_seed-{seed}")
        order = list(range(IMAGES))[::-1]  # images are known by name
        content = {
            "images": [f"image_{i:03d}" for i in order],
            "counts": zeroed[order].tolist(),
            "rates": [12, 24, 36],
            "energy": [0.3 + 0.1 * seed, 0.1, 0.0],
        }
        (run / "probe.json").write_text(json.dumps({"taps": content}))
    printed, content = told(segbench, folder)
    (homework,) = content["arms"]
    after, before = (metrics.mean_iou(np.stack(c).sum(1)) for c in (better, counts))
    assert homework["zeroed"]["difference"] == pytest.approx((after - before).mean())
    # the same networks: the spread between seeds is that of the differences
    assert homework["zeroed"]["variance_seeds"] == pytest.approx(
        (after - before).var(ddof=1) / SEEDS
    )
    assert homework["zeroed"]["verdict"].startswith("better")
    assert [b["energy"] for b in homework["branches"]] == pytest.approx([0.4, 0.1, 0])
    assert (
        "untrained weights at test: 40%, 10%, 0% of the branches' energy (78%, 33%, 0% as drawn). "
        f"Without the taps that were never trained its mean IoU changes by "
        f"{(after - before).mean():+.3f} ["
    ) in printed


def test_some_branches_may_see_and_tiles_count_as_images(segbench: Segbench, tmp_path: Path):
    given = {"model.aspp_rates": [3, 12], "data.crop_size": 160, "data.eval_tile": 320}
    folder = write_study(
        tmp_path / "s", {"fitted": counts_of()[0]}, **given, **{"model.output_stride": 16}
    )
    printed, content = told(segbench, folder)
    assert "beside their centre, the rate 12 saw only padding in training" in printed
    assert content["arms"][0]["maps"] == [[20, 20], [20, 20]]
    assert content["comparisons"] == []


def test_rates_that_see_no_more_at_test_bring_in_nothing(segbench: Segbench, tmp_path: Path):
    folder = write_study(tmp_path / "s", {"homework": counts_of()[0]}, size=(256, 256))
    printed, content = told(segbench, folder)
    assert "on the 8x8 maps of its crops, and see no more at test." in printed
    assert {b["idle"] for b in content["arms"][0]["branches"]} == {0}


def test_the_table_of_defaults_is_what_networks_are_built_of():
    for architecture, pyramid in DEFAULTS.items():
        network = build_model(architecture, 5)  # type: ignore[arg-type]
        (context,) = (m for m in network.modules() if isinstance(m, ASPP))
        assert tuple(context.rates) == pyramid.rates
        assert network.stride == pyramid.stride
        bare = {"architecture": architecture, "aspp": None, "aspp_rates": None}
        assert pyramid_of(bare) == pyramid
        assert stride_of(bare) == pyramid.stride
    assert pyramid_of({"architecture": "unet"}) is None


def test_what_cannot_be_audited_is_refused(refusal: Segbench, tmp_path: Path):
    counts = counts_of()[0]
    write_run(tmp_path / "unet", {"model.width": 8}, 0, counts[0])
    line = refusal("aspp", tmp_path / "unet", "--no-measure")
    assert "no arm has ASPP; run a study of it, such as sweeps/aspp.yaml" in line
    folder = write_study(tmp_path / "s", {"homework": counts})
    (folder / "test" / "truth" / "image_003.png").unlink()
    assert "image_003.png: not readable" in refusal("aspp", folder, "--no-measure")
    (run,) = folder.glob("homework_seed-0")
    (run / "probe.json").write_text('{"taps": {"counts": 3}}')
    line = refusal("aspp", folder, "--no-measure")
    assert "probe.json: not readable (KeyError" in line
