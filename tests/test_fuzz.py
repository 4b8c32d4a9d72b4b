"""Whatever stands in the files that segbench reads: it is read, or refused in one line.

``pytest tests/test_fuzz.py --hypothesis-profile=long`` looks for long.
"""

import copy
import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from studies_on_paper import plan_of, write_run

from segbench.analysis.compare import compare, per_class
from segbench.analysis.cost import costs
from segbench.analysis.questions import rules_of
from segbench.analysis.study import read_study
from segbench.data.classes import read_classes
from segbench.data.dataset import read_groups
from segbench.errors import InputError
from segbench.report import verdicts
from segbench.report.runs_table import runs_table
from segbench.runs import RunFolder, find_runs, fingerprint
from segbench.study import planning
from segbench.study.cells import StudyCells
from segbench.study.plan import HASHED, hash_of_extension, read_plan
from segbench.study.spec import read_sweep

FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck))

WORDS = st.sampled_from(
    ["", "=1+1", "[red]", "[/]", "\x1b[31m", "\ud800", "../../up", "a/b", "-x", "none", "1e-3", "~"]
)
NUMBERS = st.sampled_from([0, 1, -1, 255, 256, 2**63, 10**400, 0.5, -0.0, 1e308, np.inf, np.nan])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | NUMBERS | WORDS | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | WORDS, inner),
    max_leaves=10,
)


def places(content: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a structure."""
    keys = range(len(content)) if isinstance(content, list) else content
    for key in keys if isinstance(content, dict | list) else ():
        yield (*above, key)
        yield from places(content[key], (*above, key))


@st.composite
def mutated(draw: st.DrawFn, valid: Any) -> Any:
    """A valid structure with up to three parts replaced, removed, repeated or put elsewhere."""
    content = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        if not (found := list(places(content))):
            break
        *way, key = draw(st.sampled_from(found))
        owner = content
        for step in way:
            owner = owner[step]
        match draw(st.sampled_from(["replace", "remove", "copy", "add"])):
            case "replace":
                owner[key] = draw(VALUES)
            case "remove":
                del owner[key]
            case "copy":
                owner[key] = copy.deepcopy(owner[draw(st.sampled_from(_keys(owner)))])
            case "add" if isinstance(owner, list):
                owner.insert(key, draw(VALUES))
            case _:
                owner[draw(st.text())] = draw(VALUES)
    return content


def _keys(owner: Any) -> list[Any]:
    return list(range(len(owner)) if isinstance(owner, list) else owner)


@st.composite
def spoilt(draw: st.DrawFn, valid: bytes) -> bytes:
    """A valid file with up to three spans of bytes replaced, moved or cut out."""
    content = valid
    for _ in range(draw(st.integers(1, 3))):
        begin, end = sorted(draw(st.integers(0, len(content))) for _ in range(2))
        part = draw(st.binary(max_size=8) | st.sampled_from([b"", content[begin:end] * 2, b"\xff"]))
        content = content[:begin] + part + content[end:]
    return content


def as_json(content: Any) -> bytes:
    return json.dumps(content).encode()


def as_yaml(content: Any) -> bytes:
    try:
        return yaml.safe_dump(content, sort_keys=False).encode()
    except UnicodeEncodeError:
        return as_json(content)  # YAML too


def files(valid: Any, written: Callable[[Any], bytes]) -> st.SearchStrategy[bytes]:
    """What may stand in a file: a valid one gone wrong, any structure, any bytes."""
    return (
        mutated(valid).map(written)
        | spoilt(written(valid))
        | VALUES.map(written)
        | st.binary()
        | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    )


def read_or_refused(read: Callable[[], object]) -> None:
    with suppress(InputError):
        read()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


CLASSES = [{"id": k, "name": name, "color": [k, 0, 9]} for k, name in enumerate(("a", "b", "c"))]


@FUZZ
@given(content=files(CLASSES, as_json))
def test_classes(folder: Path, content: bytes):
    path = folder / "classes.json"
    path.write_bytes(content)
    read_or_refused(lambda: read_classes(path))


@FUZZ
@given(content=spoilt(b'image,group\na,one\n"b,""c""",two\n') | st.binary())
def test_groups(folder: Path, content: bytes):
    path = folder / "groups.csv"
    path.write_bytes(content)
    read_or_refused(lambda: read_groups(path))


SWEEP: dict[str, Any] = {
    "method": "random",
    "run_cap": 2,
    "name": "study",
    "parameters": {
        "model.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
        "data.crop_size": {"min": 4, "max": 8, "distribution": "q_uniform", "q": 2},
        "config": {"values": ["a.yaml", "b.yaml"]},
        "data.folds": {"value": 2},
        "data.fold": {"values": [0, 1]},
        "seed_everything": {"values": [0, 1]},
    },
    "command": ["${env}", "segbench", "fit", "--config", "${args_json}"],
    "plan": {"contrasts": "all_pairs", "margin": 0.02, "looks": [2], "paired": True},
}
GRID = SWEEP | {"method": "grid", "run_cap": None, "plan": {"contrasts": ["b - a"]}}
GRID["parameters"] = {key: SWEEP["parameters"][key] for key in ("config", "seed_everything")}
del GRID["run_cap"]
DATA = {"root": "x", "fingerprint": "0", "images": 9, "groups": 9, "classes": ["a"]}


@FUZZ
@given(content=files(SWEEP, as_yaml) | files(GRID, as_yaml))
def test_sweeps(folder: Path, content: bytes):
    path = folder / "sweep.yaml"
    path.write_bytes(content)

    def read() -> None:
        sweep = read_sweep(path, {})
        planning.plan_study(sweep, folder / "nowhere", DATA)
        for cell in sweep.cells():
            sweep.command(cell, folder / cell.name)
            assert (folder / cell.name).parent == folder

    read_or_refused(read)


@pytest.fixture(scope="module")
def study(folder: Path) -> Path:
    """Two arms, two seeds, one of them diverged; planned, and one of them measured."""
    place = folder / "study"
    rng = np.random.default_rng(0)
    for seed in (0, 1):
        for name in ("none", "full"):
            counts = rng.integers(0, 50, (7, 3, 3)) + 100 * np.eye(3, dtype=int)
            status = "diverged" if (seed, name) == (1, "full") else "finished"
            run = write_run(place, {"data.augmentation": name}, seed, counts, status=status)
            eager = {"latency_ms": 3.0, "blocks_ms": [3.0, 3.1]}
            sizes = {"macs": 9, "parameters": 9, "size_mb": 1.0, "peak_memory_mb": None}
            run.write_benchmark({"measured": "now", "runtimes": {"eager": eager}, **sizes})
    plan_of(place, {"data.augmentation": ["none", "full"]}, 2)
    return place


def look_at(place: Path) -> None:
    """All that is read of a study, and the tables that the commands print."""
    StudyCells.of(read_plan(place)).missing()
    planning.tested_in(place)
    study = read_study([place])
    rules = rules_of(study, {})
    contrasts = compare(study, rules)
    per_class(study, rules)
    costs(study)
    runs_table(place, find_runs(place))

    verdicts.warnings_of(study, contrasts)
    verdicts.verdict_table(study, rules, contrasts)


def hashed(content: Any) -> Any:
    """A plan whose hashes fit, as a liar would write it."""
    with suppress(TypeError, KeyError, ValueError, AttributeError):  # one that is refused before
        content["hash"] = before = fingerprint({key: content[key] for key in HASHED})
        for extension in content["extensions"]:
            extension["hash"] = before = hash_of_extension(before, extension)
    return content


def counts_file(content: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **content)
    return stream.getvalue()


@st.composite
def odd_counts(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    arrays: dict[str, Any] = dict(valid)
    for key in draw(st.lists(st.sampled_from(sorted(valid)), min_size=1, max_size=2)):
        shape = draw(st.lists(st.integers(0, 4), max_size=4))
        kind = draw(st.sampled_from(["u8", "i8", "f8", "U3", "S2", "O", "?", "c16", "M8[s]"]))
        arrays[key] = draw(
            st.sampled_from([np.ones(shape, kind), valid[key][1:], -valid["counts"]])
            | st.lists(WORDS, min_size=3, max_size=3).map(np.array)
        )
    return counts_file(arrays)


@FUZZ
@given(data=st.data())
def test_studies(study: Path, data: st.DataObject):
    run = RunFolder(study / "augmentation-full_seed-0")
    with np.load(run.counts) as stored:
        arrays = dict(stored)
    plan = (study / "study.yaml").read_text()
    valid: dict[Path, Callable[[], st.SearchStrategy[bytes]]] = {
        run.record: lambda: files(json.loads(run.record.read_text()), as_json),
        run.config: lambda: files(yaml.safe_load(run.config.read_text()), as_yaml),
        run.benchmark: lambda: files(json.loads(run.benchmark.read_text()), as_json),
        run.metrics: lambda: spoilt(run.metrics.read_bytes()) | st.binary(),
        run.counts: lambda: spoilt(run.counts.read_bytes()) | odd_counts(arrays),
        study / "study.yaml": lambda: (
            files(yaml.safe_load(plan), as_yaml)
            | mutated(yaml.safe_load(plan)).map(hashed).map(as_yaml)
        ),
    }
    path = data.draw(st.sampled_from(list(valid)))
    before = path.read_bytes()
    try:
        path.write_bytes(data.draw(valid[path]()))
        read_or_refused(lambda: look_at(study))
    finally:
        path.write_bytes(before)
