"""``segbench benchmark``: what it counts exactly, how it orders what it times, what it says."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segbench.inference.benchmark import changes, macs, networks_of, noise
from segbench.inference.memory import peak_memory
from segbench.inference.runtimes import usable
from segbench.inference.timing import MOST_CALLS, interleaved
from segbench.models import build_model
from segbench.runs import find_runs

Segbench = Callable[..., str]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """As many as before: ``--threads`` holds for a process, and bits depend on it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_multiply_adds_of_a_unet_by_hand():
    """A UNet of width 2: at each level two 3x3 convolutions down, and up again."""
    side, widths = 32, [2, 4, 8, 16, 32]
    expected, fan_in = 0, 3
    for level, width in enumerate(widths):
        pixels = (side // 2**level) ** 2
        expected += pixels * 9 * (fan_in * width + width * width)
        fan_in = width
    for level, width in reversed(list(enumerate(widths[:-1]))):
        pixels = (side // 2**level) ** 2
        expected += pixels * 2 * width * width  # up: each pixel from one, 2w channels to w
        expected += pixels * 9 * (2 * width * width + width * width)
    expected += side * side * 2 * 5  # the classifier
    network = build_model("unet", 5, width=2).eval()
    assert macs(network, torch.zeros(1, 3, side, side)) == expected


def test_blocks_of_all_calls_take_turns(monkeypatch: pytest.MonkeyPatch):
    clock = iter(range(10**6))
    called: list[str] = []
    calls = {name: (lambda name=name: called.append(name)) for name in ("a", "b", "c")}
    monkeypatch.setattr("time.perf_counter", lambda: next(clock) / 64)  # 1/64 s a call
    found = list(interleaved(calls, 4, CPU, np.random.default_rng(0)))
    rounds = [sorted(name for name, _ in found[i : i + 3]) for i in range(0, 12, 3)]
    assert rounds == [["a", "b", "c"]] * 4
    assert len({tuple(name for name, _ in found[i : i + 3]) for i in range(0, 12, 3)}) > 1
    assert [seconds for _, seconds in found] == [1 / 64] * 12
    per_block = 12  # in 0.2 s
    assert Counter(called) == dict.fromkeys("abc", 2 + 4 * per_block)
    assert per_block < MOST_CALLS


def test_peak_memory_sees_what_a_call_takes_and_gives_back():
    taken = 64  # MB

    def call() -> None:
        torch.ones(taken * 1_000_000 // 4)

    found = peak_memory(call, CPU)
    assert found is not None
    assert 0.95 * taken < found < 1.2 * taken


def test_arms_that_share_a_network_share_its_cost(networks: Path):
    found = networks_of(networks)
    assert {name: [run.path.name for run in runs] for name, runs in found.items()} == {
        "a": ["a", "b"],
        "c": ["c"],
    }


def test_a_benchmark_is_in_every_run_folder(segbench: Segbench, networks: Path):
    printed = segbench(
        *("benchmark", networks, "--size=64x96", "--rounds=2", "--batch=2", "--threads=1"),
        *("--runtimes", "eager", "channels_last", "onnxruntime"),
    )
    wide, same, narrow = (run.read_benchmark() for run in find_runs(networks))
    assert wide == same
    assert narrow is not None
    assert wide is not None
    assert wide["size"] == [64, 96]
    record = find_runs(networks)[0].read_record()
    assert all(wide[key] == record[key] for key in ("parameters", "size_mb"))
    assert wide["macs"] == macs(build_model("unet", 8, width=8).eval(), torch.zeros(1, 3, 64, 96))
    assert narrow["parameters"] == sum(
        p.numel() for p in build_model("unet", 8, width=4).parameters()
    )
    assert narrow["exported_mb"] == pytest.approx(narrow["size_mb"], rel=0.3)
    assert list(wide["runtimes"]) == ["eager", "channels_last", "onnxruntime"]
    for found in wide["runtimes"].values():
        assert len(found["blocks_ms"]) == 2
        assert found["latency_low_ms"] <= found["latency_ms"] <= found["latency_high_ms"]
        assert found["images_per_second"] > 0
    assert "one image of 64x96" in printed
    # a second call says whether it agrees
    assert "call of" in segbench(
        *("benchmark", networks, "--size=64x96", "--rounds=2", "--batch=2", "--threads=1"),
        *("--runtimes", "eager"),
    )


def test_the_size_is_that_of_the_test_images(segbench: Segbench, networks: Path):
    segbench("benchmark", networks, "--rounds=1", "--batch=1", "--runtimes", "eager")
    content = json.loads((networks / "c" / "benchmark.json").read_text())
    assert content["size"] == [96, 96]


def measured(latency: float, spread: float = 0.01, load: float | None = 0.0) -> dict[str, Any]:
    found = {"latency_ms": latency, "spread": spread}
    same = {"size": [1, 1], "device": "d", "threads": 1, "versions": {}}
    return same | {"measured": "then", "load": load, "runtimes": {"eager": found}}


def test_two_calls_agree_or_say_that_they_do_not():
    assert changes({"a": None}, {"a": measured(10)}) == []
    (line,) = changes(
        {"a": measured(10), "b": measured(5)}, {"a": measured(10.3), "b": measured(5)}
    )
    assert line == "the medians agree with the call of then within 3.0%"
    (line,) = changes({"a": measured(10)}, {"a": measured(12)})
    assert line == "the medians do not agree with the call of then: a (eager) differs by 20%"
    other = measured(10) | {"threads": 2}
    assert changes({"a": other}, {"a": measured(12)}) == []


def test_a_noisy_machine_is_said_to_be_noisy():
    assert noise({"a": measured(1)}) == []
    (line,) = noise({"a": measured(1), "b": measured(1, spread=0.25)})
    assert line.startswith("a noisy machine: the blocks of one call differ by ±25%")
    (line,) = noise({"a": measured(1, load=10**6)})
    assert "other work ran here" in line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--size=750"], "750: give HEIGHTxWIDTH, such as 750x1000"),
        (["--size=0x10"], "give HEIGHTxWIDTH"),
        (["--rounds=0"], "0: give 1 or more"),
        (["--runtimes", "tensorrt"], "invalid choice: 'tensorrt'"),
        (["--device=tpu9"], "--device: tpu9"),
        (["/nowhere"], "unrecognized arguments: /nowhere"),
    ],
)
def test_bad_arguments(refusal: Segbench, networks: Path, arguments: list[str], complaint: str):
    assert complaint in refusal("benchmark", networks, *arguments)


def test_onnx_runtime_is_not_timed_on_the_cpu_under_a_gpus_name(
    refusal: Segbench, networks: Path, monkeypatch: pytest.MonkeyPatch
):
    gpu = torch.device("cuda")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "onnxruntime" in usable(CPU)
    assert "onnxruntime" not in usable(gpu)
    with monkeypatch.context() as as_if:
        as_if.setattr("segbench.inference.benchmark.device_called", lambda name: gpu)
        line = refusal("benchmark", networks, "--runtimes", "onnxruntime")
    assert "--runtimes onnxruntime: this build has no CUDA" in line
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: both)
    assert "onnxruntime" in usable(gpu)


def test_a_missing_package_is_named(
    refusal: Segbench, networks: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("segbench.inference.onnx.NEEDED", ("onnx", "no_such_package"))
    line = refusal("benchmark", networks, "--runtimes", "onnxruntime")
    assert "no_such_package: pip install 'segbench[export]'" in line
