"""``segbench benchmark STUDY``: what each network of a study costs to run."""

import argparse
import os
import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from rich.markup import escape
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from segbench.analysis.timings import Timing, ratio
from segbench.arguments import Arguments, positive, tables_console
from segbench.errors import InputError
from segbench.inference.load import NETWORK, build_network, device_called
from segbench.inference.memory import peak_memory
from segbench.inference.onnx import need_onnx, onnx_runs_on
from segbench.inference.runtimes import RUNTIMES, Prepared, Runtime, usable
from segbench.inference.timing import interleaved
from segbench.models import size_of
from segbench.parallel import watched
from segbench.pictures import UNREADABLE
from segbench.runs import RunFolder, find_runs
from segbench.study.plan import arm_name
from segbench.training.provenance import cpu_name, versions

BATCH_ROUNDS = 3  # of whole batches, which take long
AGREEMENT = 0.05  # between two calls, of the medians
STEADY = 0.1  # spread between the blocks of one call, as a share, above which a machine is noisy


def main(argv: list[str]) -> None:
    """Measure latency, throughput, memory and size of each network of a study.

    All networks and runtimes are timed in turn, block by block, so that whatever else the machine
    does meets all of them alike. The results go to benchmark.json in each run folder.
    """
    options = _options(argv)
    device = device_called(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.runtimes is None:
        options.runtimes = usable(device)
    elif "onnxruntime" in options.runtimes:
        need_onnx("--runtimes onnxruntime")
        if not onnx_runs_on(device):
            raise InputError(
                f"--runtimes onnxruntime: this build has no {device.type.upper()} and would be "
                "timed on the CPU; leave it out, give --device cpu, or install onnxruntime-gpu"
            )
    found = networks_of(options.study)
    size = options.size or _size_of_test_images(options.study)
    before = {name: _benchmark_before(runs[0]) for name, runs in found.items()}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of compilers and exporters, about themselves
        measured = _measure(found, options, size, device)
    for name, runs in found.items():
        for run in runs:
            run.write_benchmark(measured[name])
    _print(options.study, measured)
    for line in [*noise(measured), *changes(before, measured)]:
        print(line)


def networks_of(study: Path) -> dict[str, list[RunFolder]]:
    """The distinct networks of a study, named by arm where that tells them apart, with their runs.

    Arms that differ in augmentation or rates share a network, and its cost.
    """
    groups: dict[str, list[RunFolder]] = {}
    for run in find_runs(study):
        if run.config.exists():
            model = run.read_config()["model"]
            groups.setdefault(repr([model.get(key) for key in NETWORK]), []).append(run)
    if not groups:
        raise InputError(f"{study}: none of its runs has begun")
    arms = [record.read_record()["arm"] for runs in groups.values() for record in runs]
    shared = {key for key in arms[0] if all(arm.get(key) == arms[0][key] for arm in arms)}
    for naming in (partial(_by_arm, without=shared), _by_network, _by_folder):
        names = [naming(runs) for runs in groups.values()]
        if all(names) and len(set(names)) == len(names):
            break
    return dict(zip(names, groups.values(), strict=True))


def _by_arm(runs: Sequence[RunFolder], without: Collection[str]) -> str:
    arms = [run.read_record()["arm"] for run in runs]
    names = {arm_name({k: v for k, v in arm.items() if k not in without}) for arm in arms}
    return names.pop() if len(names) == 1 else ""


def _by_network(runs: Sequence[RunFolder]) -> str:
    model = runs[0].read_config()["model"]
    variant = model.get("variant", "standard")
    parts = [model["architecture"], model["backbone"], variant if variant != "standard" else None]
    return " ".join(part for part in parts if part)


def _by_folder(runs: Sequence[RunFolder]) -> str:
    return runs[0].path.name


@dataclass(frozen=True)
class _Subject:
    content: dict[str, Any]
    prepared: dict[Runtime, Prepared]


def _measure(
    found: dict[str, list[RunFolder]],
    options: argparse.Namespace,
    size: tuple[int, int],
    device: torch.device,
) -> dict[str, dict[str, Any]]:
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, device=device)
    batch = image.expand(options.batch, -1, -1, -1).contiguous()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    subjects = {}
    for name, runs in watched(found.items(), len(found), "building"):
        network = build_network(runs[0].read_config()).to(device)
        content = size_of(network) | {"macs": macs(network, image)}
        content["peak_memory_mb"] = peak_memory(partial(network, image), device)
        prepared = {runtime: RUNTIMES[runtime](network) for runtime in options.runtimes}
        files = [one.file_mb for one in prepared.values() if one.file_mb is not None]
        subjects[name] = _Subject(content | {"exported_mb": files[0] if files else None}, prepared)
    alone = _times(subjects, image, options.rounds, device, "one image")
    many = _times(subjects, batch, min(BATCH_ROUNDS, options.rounds), device, "batches")
    common = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        **{"size": list(size), "batch": options.batch, "rounds": options.rounds},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        **{"threads": torch.get_num_threads(), "dtype": "float32", "load": load},
        "versions": versions(),
    }
    return {
        name: common | subject.content | {"runtimes": {
            runtime: _summary(alone[name, runtime], many[name, runtime], options.batch)
            for runtime in options.runtimes
        }}
        for name, subject in subjects.items()
    }  # fmt: skip


def _benchmark_before(run: RunFolder) -> dict[str, Any] | None:
    try:
        return run.read_benchmark()
    except InputError:  # damaged: this call writes it anew
        return None


def _times(
    subjects: dict[str, _Subject],
    images: torch.Tensor,
    rounds: int,
    device: torch.device,
    what: str,
) -> dict[tuple[str, str], Timing]:
    calls = {
        f"{name}\0{runtime}": partial(one.predict, images)
        for name, subject in subjects.items()
        for runtime, one in subject.prepared.items()
    }
    blocks: dict[str, list[float]] = {name: [] for name in calls}
    timed = interleaved(calls, rounds, device, np.random.default_rng(0))
    for name, seconds in watched(timed, rounds * len(calls), what):
        blocks[name].append(seconds)
    return {
        (name, runtime): Timing(np.array(blocks[f"{name}\0{runtime}"]))
        for name, subject in subjects.items()
        for runtime in subject.prepared
    }


def _summary(alone: Timing, many: Timing, batch: int) -> dict[str, Any]:
    low, high = alone.interval()
    return {
        "latency_ms": 1000 * alone.median,
        "latency_low_ms": 1000 * low,
        "latency_high_ms": 1000 * high,
        "spread": alone.spread,
        "blocks_ms": [round(1000 * float(seconds), 4) for seconds in alone.blocks],
        "images_per_second": batch / many.median,
    }


def macs(network: torch.nn.Module, images: torch.Tensor) -> int:
    """Multiply-adds of one forward pass: half of what torch counts as floating point operations."""
    with FlopCounterMode(display=False) as counter:
        network(images)
    return int(counter.get_total_flops()) // 2


def noise(measured: dict[str, dict[str, Any]]) -> list[str]:
    """What a reader should know about the machine's quiet while it measured."""
    content = next(iter(measured.values()))
    spreads = [found["spread"] for one in measured.values() for found in one["runtimes"].values()]
    lines = []
    if content["load"] is not None and content["load"] > 0.5 * (os.cpu_count() or 1):
        lines.append(f"the load was {content['load']:.1f} before the start: other work ran here")
    if max(spreads) > STEADY:
        lines.append(
            f"a noisy machine: the blocks of one call differ by ±{max(spreads):.0%}; believe the "
            "ratios, whose blocks were measured side by side, before the milliseconds"
        )
    return lines


def changes(
    before: dict[str, dict[str, Any] | None], measured: dict[str, dict[str, Any]]
) -> list[str]:
    """Whether the medians agree with those of the call before, where it measured the same."""
    same = ("size", "device", "threads", "versions")
    found = []
    for name, now in measured.items():
        then = before.get(name)
        if then is None or any(then.get(key) != now[key] for key in same):
            continue
        for runtime in then["runtimes"].keys() & now["runtimes"].keys():
            pair = (one["runtimes"][runtime]["latency_ms"] for one in (then, now))
            old, new = pair
            found.append((abs(new / old - 1), f"{name} ({runtime})", then["measured"]))
    if not found:
        return []
    largest, name, when = max(found)
    if largest <= AGREEMENT:
        return [f"the medians agree with the call of {when} within {largest:.1%}"]
    return [f"the medians do not agree with the call of {when}: {name} differs by {largest:.0%}"]


def _print(study: Path, measured: dict[str, dict[str, Any]]) -> None:
    first = next(iter(measured.values()))
    height, width = first["size"]
    table = Table(
        title=f"{escape(str(study))}: one image of {height}x{width} on {escape(first['device'])}, "
        f"{first['threads']} threads, {first['dtype']}; median of {first['rounds']} blocks [95 %]"
    )
    for column in ("network", "GMAC", "M param.", "MB", "ONNX MB", "peak MB", "runtime"):
        table.add_column(column, justify="left" if column in ("network", "runtime") else "right")
    baseline = next(iter(measured))
    for column in ("ms", "x eager", f"x {baseline}", f"images/s by {first['batch']}"):
        table.add_column(escape(column), justify="right")
    for name, one in measured.items():
        sizes = (one["macs"] / 1e9, one["parameters"] / 1e6, one["size_mb"])
        cells = [escape(name), *(f"{value:.2f}" for value in sizes)]
        cells += [_or_nothing(one["exported_mb"]), _or_nothing(one["peak_memory_mb"])]
        for runtime, found in one["runtimes"].items():
            table.add_row(*cells, *_row(runtime, found, one["runtimes"], first["runtimes"]))
            cells = [""] * len(cells)
    tables_console().print(table)


def _row(
    runtime: str, found: dict[str, Any], own: dict[str, Any], baseline: dict[str, Any]
) -> list[str]:
    low, high = found["latency_low_ms"], found["latency_high_ms"]
    faster = (
        f"{ratio(_timing(other), _timing(found))[0]:.2f}" if other else ""
        for other in (own.get("eager"), baseline.get(runtime))
    )
    shown = f"{found['latency_ms']:.1f} [{low:.1f}, {high:.1f}]"
    return [runtime, escape(shown), *faster, f"{found['images_per_second']:.2f}"]


def _timing(found: dict[str, Any]) -> Timing:
    return Timing(np.array(found["blocks_ms"]))


def _or_nothing(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _size_of_test_images(study: Path) -> tuple[int, int]:
    """Height and width that most test images of a study have."""
    truths = sorted(find_runs(study)[0].study_test.glob("truth/*.png"))
    sizes = []
    for path in truths:
        try:
            with Image.open(path) as truth:
                sizes.append((truth.height, truth.width))
        except UNREADABLE as error:
            raise InputError(f"{path}: not readable ({error}); give --size HxW") from None
    if not sizes:
        raise InputError(f"{study}: keeps no test images; say what to measure: --size 750x1000")
    return max(sizes, key=sizes.count)


def _height_and_width(text: str) -> tuple[int, int]:
    if not (found := re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)) or "0" in found.groups():
        raise argparse.ArgumentTypeError(f"{text}: give HEIGHTxWIDTH, such as 750x1000")
    return int(found[1]), int(found[2])


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("segbench benchmark", main.__doc__)
    parser.add_argument("study", type=Path, help="a study's folder")
    parser.add_argument(
        "--size", type=_height_and_width, metavar="HxW", help="of an image (the test images')"
    )
    parser.add_argument("--batch", type=positive, default=8, help="for the throughput (8)")
    parser.add_argument("--rounds", type=positive, default=10, help="blocks of each call (10)")
    parser.add_argument("--threads", type=positive, help="of a CPU (torch's own number)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--runtimes",
        nargs="+",
        choices=get_args(Runtime),
        help="side by side (all that the device has, but compile)",
    )
    return parser.parse_args(argv)
