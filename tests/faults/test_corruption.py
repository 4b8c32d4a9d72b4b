"""Damaged files of a study: each command that reads one names it in one line, and no other cares.

What has no checksum and keeps its form, another digit in metrics.csv say, nobody can tell.
"""

import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from comparison import assert_same
from studies import SWEEP

from segbench import cli
from segbench.runs import RunFolder

Segbench = Callable[..., str]
Damage = Callable[[bytes], bytes]

STUDY = Path("runs/aug")
CELL = STUDY / "augmentation-none_seed-0"
FILES = {
    "plan": STUDY / "study.yaml",
    "record": CELL / "run.json",
    "config": CELL / "config.yaml",
    "metrics": CELL / "metrics.csv",
    "counts": CELL / "test/counts.npz",
    "prediction": CELL / "test/predictions/scene_0008.png",
    "confidence": CELL / "test/confidence/scene_0008.png",
    "best": CELL / "checkpoints/best.ckpt",
    "last": CELL / "checkpoints/last.ckpt",
    "benchmark": CELL / "benchmark.json",
    "probe": CELL / "probe.json",
    "truth": STUDY / "test/truth/scene_0008.png",
    "image": STUDY / "test/image/scene_0008.jpg",
    "sheet": STUDY / "augmentation.jpg",
}
BASE = {
    "model": {"architecture": "deeplab", "backbone": "mobilenet_v3_small", "width": 8, "lr": 0.01},
    "data": {"crop_size": 64, "samples_per_epoch": 32, "batch_size": 8},
    "trainer": {"max_epochs": 3},
}
STUDY_ITSELF = ("plan", "record", "config", "metrics", "counts", "benchmark")
GO_ON = ("fit", "--config", CELL / "config.yaml", "--run_dir", CELL, "--ckpt_path=last")

COMMANDS: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "runs": (("runs", STUDY), ("record",)),
    "compare": (("compare", STUDY), STUDY_ITSELF),
    "pick": (("pick", STUDY, "--size=40MB"), STUDY_ITSELF),
    "publish": (("publish", STUDY), STUDY_ITSELF),
    "errors": (
        ("errors", STUDY, "--arm=none", "--workers=1"),
        (*STUDY_ITSELF, "prediction", "confidence", "truth", "image"),
    ),
    "augmentation": (("augmentation", STUDY, "--no-measure"), (*STUDY_ITSELF, "probe")),
    "aspp": (("aspp", STUDY, "--no-measure"), (*STUDY_ITSELF, "probe")),
    "sweep": (("sweep", "aug.yaml", "--engine=local"), ("plan", "record")),
    "benchmark": (
        ("benchmark", STUDY, "--size=64x64", "--rounds=1", "--batch=1", "--runtimes=eager"),
        ("record", "config"),
    ),
    "segment": (
        ("segment", CELL, STUDY / "test/image/scene_0009.jpg", "--out=out"),
        ("record", "config", "best"),
    ),
    "export": (("export", CELL, "--out=out"), ("record", "config", "best")),
    "validate": (
        ("validate", "--config", CELL / "config.yaml", "--run_dir", CELL),
        ("record", "config", "best"),
    ),
    "fit": (GO_ON, ("last", "config", "record")),  # whose repair makes it finished, last
}
"""What each says of a study, and the files that it reads of it."""

QUICK = ("runs", "compare", "pick", "augmentation", "aspp", "sweep", "segment")

READERS = {
    **dict.fromkeys(STUDY_ITSELF, "compare"),
    **{"record": "runs", "prediction": "errors", "confidence": "errors", "truth": "errors"},
    **{"best": "segment", "last": "fit", "probe": "augmentation"},
}
"""The quickest to read each file."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """Where a study of two short runs lies, benchmarked and probed."""
    folder = tmp_path_factory.mktemp("whole")
    base = BASE | {"data": {**BASE["data"], "root": str(scenes)}}
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    (folder / "aug.yaml").write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)

        def segbench(*args: object) -> None:
            patch.setattr(sys, "argv", ["segbench", *map(str, args)])
            cli.main()

        from segbench.study.planning import plan_study, tested_by
        from segbench.study.spec import as_text, read_sweep

        sweep = read_sweep(Path("aug.yaml"), {}, None, None)
        plan = plan_study(sweep, STUDY, tested_by(sweep))
        plan.write()
        for cell in plan.cells:  # as the engine does, but for a process of its own
            segbench(*shlex.split(as_text(sweep.command(cell, STUDY / cell.name)))[1:])
        segbench(*COMMANDS["benchmark"][0])
        segbench("augmentation", STUDY, "--crops=4")
        segbench("aspp", STUDY)
    return folder


@pytest.fixture
def study(whole: Path, tmp_path: Path, segbench: Segbench) -> None:
    """A copy to spoil, in the folder where segbench is called; what is linked is not written."""
    shutil.copytree(whole, tmp_path, copy_function=os.link, dirs_exist_ok=True)


def spoil(file: str, damage: Damage) -> Path:
    path = FILES[file]
    content = path.read_bytes()
    path.unlink()  # the other name of these bytes keeps them
    path.write_bytes(damage(content))
    return path


def restore(file: str, whole: Path) -> None:
    FILES[file].unlink()
    os.link(whole / FILES[file], FILES[file])


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def within(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + np.random.default_rng(0).bytes(16) + content[middle + 16 :]


BYTES: dict[str, Damage] = {
    "empty": lambda content: b"",
    "half": half,
    "nearly all": lambda content: content[: 97 * len(content) // 100],
    "other bytes": lambda content: np.random.default_rng(0).bytes(len(content)),
    "other bytes within": within,
}


def as_json(change: Callable[[dict[str, Any]], object]) -> Damage:
    return lambda content: json.dumps(change(json.loads(content))).encode()


def as_yaml(change: Callable[[dict[str, Any]], object]) -> Damage:
    return lambda content: yaml.safe_dump(change(yaml.safe_load(content))).encode()


def as_lines(change: Callable[[list[str]], list[str]]) -> Damage:
    return lambda content: "".join(change(content.decode().splitlines(keepends=True))).encode()


def as_arrays(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Damage:
    def damage(content: bytes) -> bytes:
        with np.load(io.BytesIO(content)) as stored:
            arrays = dict(stored)
        changed = io.BytesIO()
        np.savez_compressed(changed, **change(arrays))
        return changed.getvalue()

    return damage


def as_checkpoint(change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(content: bytes) -> bytes:
        changed = io.BytesIO()
        torch.save(change(torch.load(io.BytesIO(content), weights_only=True)), changed)
        return changed.getvalue()

    return damage


def as_picture(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    def damage(content: bytes) -> bytes:
        ids = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        return bytes(cv2.imencode(".png", change(ids))[1])

    return damage


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {k: v for k, v in content.items() if k != key}


OTHERS: dict[str, dict[str, Damage]] = {
    "plan": {
        "a list": as_yaml(lambda plan: [plan]),
        "older": as_yaml(lambda plan: plan | {"format": 0}),
        "before formats": as_yaml(without("format")),
        "another margin": as_yaml(lambda plan: plan | {"plan": plan["plan"] | {"margin": 0.5}}),
    },
    "record": {
        "a list": as_json(lambda record: [record]),
        "older": as_json(lambda record: record | {"format": 0}),
        "before formats": as_json(without("format")),
        "no fingerprints": as_json(without("fingerprints")),
        "a seed in words": as_json(lambda record: record | {"seed": "one"}),
        "a score in words": as_json(lambda record: record | {"scores": {"test": {"loss": "low"}}}),
        "no status of ours": as_json(lambda record: record | {"status": "done"}),
    },
    "config": {
        "a list": as_yaml(lambda config: [config]),
        "no model": as_yaml(without("model")),
        "a model in words": as_yaml(lambda config: config | {"model": "unet"}),
        "another": as_yaml(lambda config: config | {"model": config["model"] | {"lr": 0.5}}),
    },
    "metrics": {
        "another table": lambda content: b"a,b\n1,2\n",
        "no rows": as_lines(lambda lines: lines[:1]),
        "a row short": as_lines(lambda lines: lines[:-1]),
        "a cell short": lambda content: content.rpartition(b",")[0] + b"\n",
        "a digit short": lambda content: content[:-2],
        "words": lambda content: content.replace(b"0.", b"x."),
    },
    "counts": {
        "older": as_arrays(without("groups")),
        "an image short": as_arrays(lambda a: a | {"counts": a["counts"][1:]}),
        "a name short": as_arrays(lambda a: a | {"images": a["images"][1:]}),
        "a group short": as_arrays(lambda a: a | {"groups": a["groups"][1:]}),
        "fewer classes": as_arrays(lambda a: a | {"classes": a["classes"][1:]}),
        "of one image": as_arrays(lambda a: a | {"counts": a["counts"][0]}),
        "no numbers": as_arrays(lambda a: a | {"counts": a["counts"] * np.nan}),
    },
    "best": {
        "a list": as_checkpoint(lambda stored: [1, 2]),
        "no weights": as_checkpoint(without("state_dict")),
        "no tensors": as_checkpoint(lambda stored: {"state_dict": {"network.x": 3}}),
    },
    "last": {
        "a list": as_checkpoint(lambda stored: [1, 2]),
        "weights alone": as_checkpoint(lambda stored: {"state_dict": stored["state_dict"]}),
        "another program's": as_checkpoint(lambda stored: stored | {"callbacks": {}}),
    },
    "benchmark": {
        "a list": as_json(lambda measured: [measured]),
        "older": as_json(without("macs")),
        "no runtimes": as_json(lambda measured: measured | {"runtimes": {}}),
        "a number": as_json(lambda measured: measured | {"runtimes": 3}),
        "no blocks": as_json(
            lambda measured: measured | {"runtimes": {"eager": {"latency_ms": 1, "blocks_ms": []}}}
        ),
    },
    "probe": {
        "a list": as_json(lambda probe: [probe]),
        "numbers": as_json(lambda probe: dict.fromkeys(probe, 3)),
        "nothing": as_json(dict.fromkeys),
        "older": as_json(lambda probe: probe | {"policy": {"draws": 3}}),
    },
    "prediction": {
        "in colour": as_picture(lambda ids: np.dstack([ids] * 3)),
        "smaller": as_picture(lambda ids: ids[:50]),
        "of another class": as_picture(lambda ids: (ids + 1) % 8),
    },
}


@pytest.fixture
def interrupted(study: None) -> None:
    """The run whose files are spoilt stands as a kill before its test would have left it."""
    spoil("record", as_json(lambda record: record | {"status": "running"}))


@pytest.mark.parametrize("file", READERS)
@pytest.mark.usefixtures("study")
def test_every_damage_is_named(
    file: str, whole: Path, refusal: Segbench, request: pytest.FixtureRequest
):
    if READERS[file] == "fit":
        request.getfixturevalue("interrupted")
    command, _ = COMMANDS[READERS[file]]
    for how, damage in (BYTES | OTHERS.get(file, {})).items():
        path = spoil(file, damage)
        line = refusal(*command)
        assert line.startswith(f"segbench: {path}: "), f"{how}: {line}"
        restore(file, whole)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.usefixtures("study")
def test_every_command_names_what_it_cannot_read(
    name: str, whole: Path, refusal: Segbench, request: pytest.FixtureRequest
):
    if name == "fit":
        request.getfixturevalue("interrupted")
    command, files = COMMANDS[name]
    for file in files:
        path = spoil(file, half)
        line = refusal(*command)
        assert str(path) in line, f"{file}: {line}"
        restore(file, whole)
    assert not Path("out").exists()


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.usefixtures("study")
def test_damage_to_what_a_command_does_not_read_changes_nothing(name: str, segbench: Segbench):
    command, files = COMMANDS[name]
    before = segbench(*command)
    shutil.rmtree("out", ignore_errors=True)
    for file in FILES.keys() - set(files):
        spoil(file, within)
    assert segbench(*command) == before


@pytest.mark.parametrize("file", ["plan", "record"])
@pytest.mark.usefixtures("study")
def test_no_page_without_plan_or_runs(file: str, refusal: Segbench):
    path = spoil(file, half)
    assert str(path) in refusal("report", STUDY)
    assert not (STUDY / "report.html").exists()


@pytest.mark.parametrize("file", ["counts", "confidence", "image", "probe", "sheet"])
@pytest.mark.usefixtures("study")
def test_a_page_says_what_could_not_be_read(file: str, segbench: Segbench):
    path = spoil(file, half)
    segbench("report", STUDY, "--arm=none", "--workers=1")
    assert f"{path}: not readable" in (STUDY / "report.html").read_text()


@pytest.mark.usefixtures("study")
def test_a_damaged_benchmark_is_measured_again(segbench: Segbench):
    path = spoil("benchmark", half)
    segbench(*COMMANDS["benchmark"][0])
    assert json.loads(path.read_text())["runtimes"].keys() == {"eager"}
    segbench("pick", STUDY, "--latency=1s")


@pytest.mark.usefixtures("study")
def test_what_a_test_wrote_is_written_again(segbench: Segbench, refusal: Segbench, whole: Path):
    """As the refusal says."""
    spoil("prediction", half)
    path = spoil("counts", half)
    said = refusal("compare", STUDY)
    again = said[said.index("segbench fit") : said.index(" tests again")]
    path.unlink()
    segbench(*shlex.split(again)[1:])
    assert_same(RunFolder(CELL), RunFolder(whole / CELL))
