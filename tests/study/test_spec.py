"""Sweep files: W&B's schema, read into cells, and refused where a study cannot follow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from segbench.errors import InputError
from segbench.runs import cell_name
from segbench.study.spec import Sweep, read_sweep

REPOSITORY = Path(__file__).parents[2]
SWEEPS = sorted((REPOSITORY / "sweeps").glob("*.yaml"))
COMMAND = ["${env}", "segbench", "fit", "--config", "base.yaml", "--config", "${args_json}"]
GRID: dict[str, Any] = {
    "method": "grid",
    "parameters": {
        "data.augmentation": {"values": ["none", "full"]},
        "model.aspp": {"values": [False, True]},
        "seed_everything": {"values": [0, 1]},
        "trainer.max_epochs": {"value": 3},
    },
    "command": COMMAND,
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a sweep file: GRID with ``changes``; a change to None takes the key away."""

    def write(changes: dict[Any, Any] | None = None, **more: Any) -> Path:
        given = GRID | (changes or {}) | more
        content = {k: v for k, v in given.items() if v is not None}
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


def test_a_grid_is_every_combination_seed_by_seed(write: Write):
    cells = read_sweep(write(), {}).cells()
    assert [(c.seed, *c.arm.values()) for c in cells] == [
        *((0, "none", False), (0, "none", True), (0, "full", False), (0, "full", True)),
        *((1, "none", False), (1, "none", True), (1, "full", False), (1, "full", True)),
    ]
    assert cells[3].name == "augmentation-full_aspp-True_seed-0"
    assert cells[3].args["trainer.max_epochs"] == 3
    assert "trainer.max_epochs" not in cells[3].arm


def test_folds_are_part_of_a_cell_and_not_of_its_arm(write: Write):
    parameters = {"data.folds": {"value": 2}, "data.fold": {"values": [0, 1]}}
    cells = read_sweep(write(parameters=parameters), {}, seeds=2).cells()
    assert cells == read_sweep(write(parameters={}), {}, seeds=2, folds=2).cells()
    assert [(c.seed, c.fold, c.arm) for c in cells] == [
        (0, 0, {}),
        (0, 1, {}),
        (1, 0, {}),
        (1, 1, {}),
    ]
    assert cells[1].name == "seed-0_fold-1"
    # where none is given it is the first
    cells = read_sweep(write(parameters={"data.folds": {"value": 2}}), {}).cells()
    assert [(c.seed, c.fold) for c in cells] == [(0, 0)]


def test_every_value_reaches_the_command_with_its_type(write: Write):
    odd = [None, True, 0.003, "none", [1, 2], 'it\'s "quoted" Ж']
    path = write(parameters={"model.width": {"values": odd}})
    sweep = read_sweep(path, {})
    for cell, value in zip(sweep.cells(), odd, strict=True):
        command = sweep.command(cell, Path("runs/s/c"))
        assert command[:5] == ["segbench", "fit", "--config", "base.yaml", "--config"]
        assert json.loads(command[5]) == {"model.width": value, "seed_everything": 0}
        assert command[6:] == ["--run_dir", "runs/s/c"]


def test_flags_in_place_of_json(write: Write):
    sweep = read_sweep(write(command=["segbench", "fit", "${args}"]), {})
    assert sweep.command(sweep.cells()[0], Path("r"))[2:6] == [
        *("--data.augmentation=none", "--model.aspp=False"),
        *("--seed_everything=0", "--trainer.max_epochs=3"),
    ]


def test_constants_and_seeds_of_the_command_line_win(write: Write):
    sweep = read_sweep(write(), {"data.augmentation": "flip", "data.root": "x"}, seeds=3)
    assert {c.seed for c in sweep.cells()} == {0, 1, 2}
    assert all(c.args["data.augmentation"] == "flip" for c in sweep.cells())
    assert sweep.factors == {"model.aspp": [False, True]}


def test_a_random_search_draws_the_same_each_time(write: Write):
    parameters = {
        "model.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
        "data.crop_size": {"min": 4, "max": 8},
        "model.loss": {"values": ["dice", "focal"]},
    }
    path = write(method="random", run_cap=200, parameters=parameters)
    cells = read_sweep(path, {}).cells()
    assert cells == read_sweep(path, {}).cells()
    rates = [cell.args["model.lr"] for cell in cells]
    assert 1e-4 <= min(rates) < max(rates) <= 1e-1
    assert 0.3 < sum(rate < 10**-2.5 for rate in rates) / 200 < 0.7  # even on a log scale
    assert {cell.args["data.crop_size"] for cell in cells} == {4, 5, 6, 7, 8}
    assert {cell.args["model.loss"] for cell in cells} == {"dice", "focal"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"method": "bayes"}, "method: bayes; grid or random"),
        ({"early_terminate": {"type": "hyperband"}}, "early_terminate: segbench leaves it out"),
        ({"metod": "grid"}, "metod: no such key; did you mean method?"),
        ({"parameters": None}, "parameters: must map"),
        ({"parameters": {"model": {"parameters": {}}}}, "model: nested parameters"),
        ({"parameters": {"model.lr": 3}}, "model.lr: 3; give it as value: or values:"),
        ({"parameters": {"model.lr": {"values": []}}}, "model.lr: values must be a list"),
        ({"parameters": {"model.lr": {"min": 1, "max": 2}}}, "model.lr: a grid needs values"),
        ({"parameters": {"model.lr": {"values": [1, 1]}}}, "model.lr: a value stands there twice"),
        ({"parameters": {"seed_everything": {"values": ["a"]}}}, "seed_everything: ['a']"),
        ({"command": ["python", "train.py"]}, "command: must begin with [segbench, fit]"),
        ({"command": ["segbench", "fit"]}, "command: must end in ${args_json}"),
        ({"command": [*COMMAND, "--config", "late.yaml"]}, "command: must end in ${args_json}"),
        ({"run_cap": 3}, "run_cap: a grid runs all"),
        ({"method": "random", "run_cap": 0}, "run_cap: 0"),
        ({"name": "../elsewhere"}, "name: '../elsewhere' cannot be the name of a folder"),
        ({3: 1}, "not readable as YAML (3: a key must be a word"),
        ({"parameters": {1: {"value": 1}}}, "not readable as YAML (1: a key must be a word"),
        ({"parameters": {"a.b": {"values": [1], "value": 1}}}, "a.b: has value and values"),
        ({"parameters": {"a.b": {"value": 1, "probabilities": [1]}}}, "a.b.probabilities: not"),
        ({"parameters": {"data.root": {"values": ["x", "y"]}}}, "data.root: is the same for all"),
        ({"parameters": {"data.root": {"value": 7}}}, "data.root: 7; give the folder"),
        ({"parameters": {"data.fold": {"values": [0, 1]}}}, "data.fold: of how many?"),
        ({"parameters": {"data.folds": {"value": "two"}}}, "data.folds: two; give a whole number"),
        ({"method": "random"}, "run_cap: None; say how many"),
        (
            {"method": "random", "run_cap": 2, "parameters": {"a.b": {"distribution": "beta"}}},
            "a.b: needs values, or min and max",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(write: Write, changes: dict[str, Any], complaint: str):
    path = write(changes)
    with pytest.raises(InputError) as refused:
        read_sweep(path, {}).cells()
    assert str(refused.value).startswith(f"{path}: {complaint}")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_cell_of_every_sweep_is_a_run_that_fit_accepts(
    path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
):
    """Parsed by the real command line, all keys and files in place."""
    from segbench.training.config import SegbenchCLI

    class Parsed(SegbenchCLI):
        def instantiate_classes(self) -> None:
            """Networks are built in other tests."""

    monkeypatch.chdir(REPOSITORY)
    sweep = read_sweep(path, {"data.root": str(scenes)}, seeds=1)
    for cell in sweep.cells():
        _, verb, *argv = sweep.command(cell, Path("r"))
        cli = Parsed(verb, "", argv)
        assert cell.arm.items() <= cli.arm().items()
        for key, value in cell.args.items():
            if key != "config":
                assert cli.config[key] == value
        if path.stem == "variants":  # a file that builds on a file
            expected = Path(cell.args["config"]).stem.partition("_")[2]
            known = expected in ("separable", "inverted", "residual")
            assert cli.config["model.variant"] == (expected if known else "standard")
            assert set(cli.arm()) == {"config"}


def test_the_capacity_control_has_as_many_parameters_as_the_fitted_rates():
    from segbench.models import build_model

    def parameters(overlay: str) -> int:
        keys = yaml.safe_load((REPOSITORY / f"sweeps/aspp/{overlay}.yaml").read_text())["model"]
        model = build_model("deeplab", 8, backbone="resnet18", width=32, **keys)
        return sum(p.numel() for p in model.parameters())

    assert parameters("fitted") == parameters("no_context") == parameters("homework")
    assert parameters("off") < parameters("fitted")


def test_names_of_cells_are_readable_short_and_safe():
    assert cell_name({"config": "configs/unet.yaml"}, 2) == "unet_seed-2"
    assert cell_name({"model.aspp_rates": [1, 2]}, 0, 3) == "aspp_rates-1-2_seed-0_fold-3"
    assert cell_name({"model.x": "a/b c:*"}, 0) == "x-a-b-c_seed-0"
    long = cell_name({f"model.key{i}": "value" for i in range(30)}, 7)
    assert len(long) <= 120
    assert long.endswith("seed-7")
    assert cell_name({"model.x": "y" * 300}, 1, 2).endswith("_seed-1_fold-2")
    assert cell_name({"model.x": "y" * 300}, 1) != cell_name({"model.x": "y" * 301}, 1)


def test_files_that_build_on_files_are_read_in_order_and_without_end(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name, keys in {
        "a": {"data": {"root": "there", "folds": 2}},
        "b": {"config": "a.yaml", "data": {"folds": 3}},
        "c": {"config": "b.yaml", "model": {"lr": 0.1}},
        "other": {"config": "a.yaml", "data": {"folds": 4}},
    }.items():
        Path(f"{name}.yaml").write_text(yaml.safe_dump(keys))
    files = {"config": {"values": ["c.yaml", "other.yaml"]}}
    command = ["segbench", "fit", "--config", "${args_json}"]
    sweep = read_sweep(write(command=command, parameters=files), {})
    assert sweep.files == ["a.yaml", "b.yaml", "c.yaml", "other.yaml"]
    assert sweep.resolved("data.folds", None) == 3
    assert sweep.resolved("data.root", None) == "there"
    Path("a.yaml").write_text("config: c.yaml")
    with pytest.raises(InputError, match=r"c\.yaml: config: builds on itself"):
        sweep.contents()


def test_a_sweep_says_where_its_data_are(write: Write, tmp_path: Path):
    base = tmp_path / "base.yaml"
    base.write_text("data: {root: there}\n")
    command = [word.replace("base.yaml", str(base)) for word in COMMAND]
    sweep: Sweep = read_sweep(write(command=command), {})
    assert sweep.resolved("data.root", "default") == "there"
    assert sweep.resolved("data.folds", None) is None
    assert read_sweep(write(command=command), {"data.root": "x"}).resolved("data.root", "") == "x"


def test_a_flag_leaves_something_to_compare(tmp_path: Path):
    path = tmp_path / "aug.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "method": "grid",
                "parameters": {"data.augmentation": {"values": ["none", "full"]}},
                "command": COMMAND,
            }
        )
    )
    with pytest.raises(InputError, match=r"--data\.augmentation: is what .*aug\.yaml varies"):
        read_sweep(path, {"data.augmentation": "none"})
