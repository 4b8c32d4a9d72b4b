"""Files made to harm: refused in one line, nothing of them run, nothing written elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from bombs import png_header
from painted import study_of_networks
from studies_on_paper import plan_of, write_run

from segbench.runs import RunFolder, fingerprint
from segbench.study.plan import HASHED

Segbench = Callable[..., str]

COMMAND = "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [PWNED]]"
DEEP = "[" * 100_000
"""Libyaml's loader in C crashes on it, the one in Python runs out of stack."""
NAMES = {"data.augmentation": ["none", "[red]=1+1[/] [/]"]}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two arms, the second with a name that rich and a spreadsheet would obey; two seeds."""
    rng = np.random.default_rng(0)
    for seed in (0, 1):
        for name in NAMES["data.augmentation"]:
            counts = rng.integers(0, 50, (7, 3, 3)) + 100 * np.eye(3, dtype=int)
            write_run(tmp_path / "study", {"data.augmentation": name}, seed, counts)
    plan_of(tmp_path / "study", NAMES, 2)
    return tmp_path / "study"


def a_run(study: Path) -> RunFolder:
    return RunFolder(study / "augmentation-none_seed-0")


@pytest.mark.parametrize("text", [COMMAND, f"model: {COMMAND}", DEEP, "a: &a [*a]", "&a [*a]"])
def test_yaml_that_is_more_than_values(study: Path, refusal: Segbench, scenes: Path, text: str):
    path = Path("evil.yaml")
    path.write_text(text)
    assert "evil.yaml: " in refusal("fit", "--data.root", scenes, "--config", path)
    assert "evil.yaml: " in refusal("sweep", path, "--dry-run")
    Path("over.yaml").write_text("config: evil.yaml")
    assert "evil.yaml: " in refusal("fit", "--data.root", scenes, "--config", "over.yaml")
    for file in (a_run(study).config, study / "study.yaml"):
        before = file.read_bytes()
        file.write_text(text)
        assert f"{file}: " in refusal("compare", study)
        file.write_bytes(before)
    assert not Path("PWNED").exists()


def test_aliases_of_aliases(refusal: Segbench):
    """A few hundred bytes that stand for 10 to the 12th values."""
    rows = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 13)]
    Path("laughs.yaml").write_text("\n".join(["a0: &a0 [x]", *rows]))
    line = refusal("sweep", "laughs.yaml", "--dry-run")
    assert "laughs.yaml: not readable as YAML (holds more than" in line


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[{"id": 0, "name": "a", "color": [NaN, 0, 0]}]', "NaN is no number"),
        ('[{"id": 0, "name": "a", "color": [1e999, 0, 0]}]', "a number that is too large"),
        (f'[{{"id": {10**400}, "name": "a", "color": [0, 0, 0]}}]', "a number of 401 digits"),
        ('[{"id": 0, "id": 1, "name": "a", "color": [0, 0, 0]}]', "the key 'id' stands there twi"),
        ('[{"id": 0, "name": "\\u001b[31m", "color": [0, 0, 0]}]', "control characters"),
        ('[{"id": 0, "name": "\\ud800", "color": [0, 0, 0]}]', "control characters"),
        (DEEP, "recursion"),
        ('{"a":' * 90 + "1" + "}" * 90, "nested more than"),
    ],
)
def test_json_that_no_segbench_wrote(refusal: Segbench, tmp_path: Path, text: str, complaint: str):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "classes.json").write_text(text)
    line = refusal("data", "check", "data")
    assert line.startswith("segbench: data/classes.json: ")
    assert complaint in line


def rewrite(study: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a plan as a liar would, hash and all."""
    content = yaml.safe_load((study / "study.yaml").read_text())
    change(content)
    content["hash"] = fingerprint({key: content[key] for key in HASHED})
    (study / "study.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("name", ["../up", "/tmp/up", "..", "a/b", ""])
def test_a_plan_stays_in_its_folder(study: Path, refusal: Segbench, name: str):
    rewrite(study, lambda content: content["cells"][0].update(name=name))
    assert "study.yaml: cells.0.name: " in refusal("compare", study)


@pytest.mark.parametrize("name", ["../../../up", "/tmp/up", "\x1b[2J"])
def test_images_stay_in_their_folder(study: Path, refusal: Segbench, name: str):
    run = a_run(study)
    tested = run.read_counts()
    tested.images[3] = name
    run.write_counts(tested)
    assert f"{run.counts}: not readable (" in refusal("errors", study)


def test_counts_that_are_a_pickle(study: Path, refusal: Segbench):
    class Gift:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path("PWNED").touch, ()

    run = a_run(study)
    np.savez(run.counts, **{key: [Gift()] for key in ("counts", "images", "groups", "classes")})
    assert f"{run.counts}: not readable (" in refusal("compare", study)
    assert not Path("PWNED").exists()


def test_a_name_is_shown_and_not_obeyed(study: Path, segbench: Segbench, refusal: Segbench):
    for command in (("runs",), ("compare", "--csv", "c.csv"), ("pick",)):
        printed = segbench(command[0], study, *command[1:])
        assert command[0] == "runs" or "[red]=1+1[/] [/]" in printed
    path = a_run(study).record
    record = json.loads(path.read_text())
    record["arm"]["data.augmentation"] = "\x1b[31mred"
    path.write_text(json.dumps(record))
    for verb in ("runs", "compare", "pick"):
        assert r"control characters ('\x1b[31mred')" in refusal(verb, study)


def test_names_of_folders_and_commands_are_not_obeyed(study: Path, refusal: Segbench):
    a_run(study).path.rename(study / "\x1b[31mred")
    assert r"\x1b[31mred: control characters in its name" in refusal("runs", study)
    assert r"\x1b[2J: no such command" in refusal("\x1b[2J")


def test_pictures_that_claim_to_be_huge(refusal: Segbench, tmp_path: Path):
    study = study_of_networks(tmp_path, {"a": lambda ids, seed: ids}, seeds=1)
    for path in (
        study / "a_seed-0" / "test" / "predictions" / "scene_3.png",
        study / "test" / "truth" / "scene_2.png",
    ):
        before = path.read_bytes()
        path.write_bytes(png_header(50_000, 50_000))
        assert f"{path}: not readable" in refusal("errors", study, "--workers=1")
        path.write_bytes(before)
