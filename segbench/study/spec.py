"""A sweep file in W&B's own schema, read into the cells of a study.

https://docs.wandb.ai/models/sweeps/sweep-config-keys describes the schema. Keys are dotted
(``model.aspp``), and ``seed_everything`` and ``data.fold`` are parameters like any other. What
only W&B's server can do (bayes, early_terminate) is refused by name.
"""

import json
import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import pairwise, product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml

from segbench.errors import InputError
from segbench.reading import parse_yaml, read_yaml
from segbench.runs import MACHINE, OUTSIDE_THE_RESULT, cell_name, dotted, fingerprint

SEED, FOLD = "seed_everything", "data.fold"

KNOWN = {
    *("project", "entity", "name", "description", "method", "metric", "parameters", "command"),
    *("run_cap", "plan"),
}
W_AND_B_ONLY = {
    "early_terminate": "it stops runs early, which a comparison cannot use",
    "controller": "it is W&B's",
    "job": "it is of W&B Launch",
    "image_uri": "it is of W&B Launch",
    "program": "give a command that begins with [segbench, fit]",
}
ARGS = ("${args}", "${args_json}", "${args_json_file}", "${args_no_boolean_flags}")


@dataclass(frozen=True)
class Cell:
    """One run of a study: an arm, a seed, and a fold where the study has folds."""

    name: str
    arm: dict[str, Any]
    seed: int
    fold: int | None
    args: dict[str, Any] = field(repr=False)
    """Every parameter with its value, as the command gets it."""


@dataclass(frozen=True)
class Sweep:
    """A sweep file, checked."""

    path: Path
    content: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.content.get("name", self.path.stem))

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        parameters: dict[str, dict[str, Any]] = self.content["parameters"]
        return parameters

    @property
    def factors(self) -> dict[str, list[Any]]:
        """What varies besides seed and fold: its values, the first one the baseline."""
        return {
            key: list(given["values"])
            for key, given in self.parameters.items()
            if len(given.get("values", ())) > 1 and key not in (SEED, FOLD)
        }

    @property
    def random(self) -> bool:
        return bool(self.content["method"] == "random")

    @property
    def varied(self) -> list[str]:
        """The keys of an arm."""
        varied = [key for key, given in self.parameters.items() if "value" not in given]
        return [key for key in varied if key not in (SEED, FOLD)]

    def cells(self) -> list[Cell]:
        """Its runs: seed by seed, so that a study cut short has every arm of the first seeds."""
        draws = self._draws() if self.random else self._grid()
        folds = self.resolved("data.folds", None) is not None
        cells = [_cell(args, self.varied, folds) for args in draws]
        names = [cell.name for cell in cells]
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"{self.path}: two cells are called {name}; give parameters or files that "
                    "differ in their last word"
                )
        return cells

    def _grid(self) -> list[dict[str, Any]]:
        outer = [key for key in (SEED, FOLD) if key in self.parameters]
        order = [*outer, *(key for key in self.parameters if key not in outer)]
        values = {
            k: given.get("values", [given.get("value")]) for k, given in self.parameters.items()
        }
        found = (dict(zip(order, one, strict=True)) for one in product(*(values[k] for k in order)))
        return [{key: args[key] for key in self.parameters} for args in found]

    def _draws(self) -> list[dict[str, Any]]:
        rng = np.random.default_rng(0)
        found: dict[str, dict[str, Any]] = {}
        for _ in range(100 * self.content["run_cap"]):  # a small space has no more to give
            if len(found) < self.content["run_cap"]:
                drawn = {k: _draw(self.path, k, given, rng) for k, given in self.parameters.items()}
                found.setdefault(json.dumps(drawn), drawn)
        return list(found.values())

    def command(self, cell: Cell, run_dir: Path) -> list[str]:
        """What runs ``cell``, beginning with segbench, its folder and what it goes on from last."""
        words: list[str] = []
        for word in self.content["command"]:
            words += self._expanded(str(word), cell)
        words += ["--run_dir", str(run_dir)]
        return words + (["--ckpt_path", "last"] if (run_dir / "run.json").exists() else [])

    def _expanded(self, word: str, cell: Cell) -> list[str]:
        match word:
            case "${env}" | "${interpreter}" | "${program}":
                return []
            case "${args_json}" | "${args_json_file}":
                return [json.dumps(cell.args, ensure_ascii=False)]
            case "${args}":
                if None in cell.args.values():
                    raise InputError(
                        f"{self.path}: command: ${{args}} makes null the word None; use "
                        "${args_json}"
                    )
                return [f"--{key}={value}" for key, value in cell.args.items()]
            case "${args_no_boolean_flags}":
                raise InputError(f"{self.path}: command: {word} loses false; use ${{args_json}}")
        if word.startswith("${envvar:"):
            return [os.environ.get(word[len("${envvar:") : -1], "")]
        if word.startswith("${"):
            raise InputError(f"{self.path}: command: {word} is not known; use ${{args_json}}")
        return [word]

    @property
    def files(self) -> list[str]:
        """The configuration files that its cells are made of, in the order they are read."""
        return self._files()

    def _files(self, without: Sequence[str] = ()) -> list[str]:
        words = [str(word) for word in self.content["command"]]
        named = [after for before, after in pairwise(words) if before in ("-c", "--config")]
        named += [word.split("=", 1)[1] for word in words if word.startswith("--config=")]
        named = [name for name in named if not name.startswith("${")]
        named += [str(name) for name in _values(self.parameters.get("config", {}))]
        found: list[str] = []
        for name in (name for name in named if name not in without):
            found += [one for one in _with_what_it_builds_on(name) if one not in found]
        return found

    def contents(self) -> dict[str, str]:
        """A fingerprint of each of these files.

        Raises:
            InputError: one is missing, or cannot be read.
        """
        return {name: fingerprint(dotted(_read_yaml(Path(name)))) for name in self.files}

    def resolved(self, key: str, default: Any) -> Any:
        """A key's value in the first cell, looked up where ``segbench fit`` would."""
        if key in self.parameters and (values := _values(self.parameters[key])):
            return values[0]
        other_arms = [str(name) for name in _values(self.parameters.get("config", {}))][1:]
        value = default
        for file in self._files(without=other_arms):
            if Path(file).is_file():
                value = dotted(_read_yaml(Path(file))).get(key, value)
        return value


def _with_what_it_builds_on(name: str, above: tuple[str, ...] = ()) -> list[str]:
    """A configuration file, after those that it builds on by its key ``config``."""
    if name in above:
        raise InputError(f"{name}: config: builds on itself, by {' and '.join(above)}")
    built_on = _read_yaml(Path(name)).get("config") if Path(name).is_file() else None
    below = _with_what_it_builds_on(str(built_on), (*above, name)) if built_on else []
    return [*below, name]


def _values(given: Mapping[str, Any]) -> list[Any]:
    return list(given.get("values", [given["value"]] if "value" in given else []))


def read_sweep(
    path: Path,
    constants: Mapping[str, Any],
    seeds: int | None = None,
    folds: int | None = None,
) -> Sweep:
    """Read a sweep file.

    Args:
        path: the file.
        constants: parameters to add, or to fix, for every cell; dotted keys.
        seeds: replace the values of seed_everything by 0 .. seeds - 1.
        folds: test on every image in turn, in this many folds by group.

    Raises:
        InputError: not a sweep, or one that only W&B's server could run.
    """
    content = _read_yaml(path)
    parameters = content.get("parameters")
    if not isinstance(parameters, dict):
        raise InputError(f"{path}: parameters: must map dotted keys to values, value or a range")
    parameters = {**parameters, **{key: {"value": value} for key, value in constants.items()}}
    if seeds is not None:
        parameters[SEED] = {"values": list(range(seeds))}
    if folds is not None:
        parameters |= {"data.folds": {"value": folds}, FOLD: {"values": list(range(folds))}}
    sweep = Sweep(path, {**content, "parameters": parameters})
    check_sweep(path, sweep.content)
    before = content["parameters"]
    fixed = [k for k in constants if isinstance(before.get(k), dict) and "values" in before[k]]
    if fixed and not sweep.factors and not sweep.random:
        raise InputError(f"--{fixed[0]}: is what {path} varies; leave it out")
    return sweep


def check_sweep(path: Path, content: dict[str, Any]) -> None:
    """Refuse what is no sweep, or one that only W&B's server could run; ``path`` names it.

    Raises:
        InputError: the first thing that is wrong.
    """
    for key in content:
        if not isinstance(key, str):
            raise InputError(f"{path}: {key}: no such key")
        if key in W_AND_B_ONLY:
            raise InputError(f"{path}: {key}: segbench leaves it out: {W_AND_B_ONLY[key]}")
        if key not in KNOWN:
            near = get_close_matches(key, KNOWN, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"{path}: {key}: no such key{hint}")
    method = content.get("method")
    if method not in ("grid", "random"):
        raise InputError(
            f"{path}: method: {method}; grid or random (bayes needs W&B's server: run it there "
            "with wandb sweep and wandb agent)"
        )
    draws = content.get("run_cap")
    if method == "random" and (type(draws) is not int or draws < 1):
        raise InputError(f"{path}: run_cap: {draws}; say how many random draws to run")
    if method == "grid" and draws is not None:
        raise InputError(f"{path}: run_cap: a grid runs all of its cells; leave it out")
    name = content.get("name", path.stem)
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name:
        raise InputError(f"{path}: name: {name!r} cannot be the name of a folder")
    parameters = content["parameters"]
    parameters.setdefault(SEED, {"value": 0})
    for key in parameters:
        if not isinstance(key, str):
            raise InputError(f"{path}: {key}: a parameter is a dotted key")
    _check_command(path, content)
    for key, given in parameters.items():
        _check_parameter(path, key, given, method)
    folds = Sweep(path, content).resolved("data.folds", None)
    if FOLD in parameters and folds is None:
        raise InputError(f"{path}: {FOLD}: of how many? set data.folds too")
    if folds is not None and type(folds) is not int:
        raise InputError(f"{path}: data.folds: {folds}; give a whole number")


def _check_command(path: Path, content: dict[str, Any]) -> None:
    command = content.get("command")
    words = [str(word) for word in command] if isinstance(command, list) else []
    plain = [word for word in words if word not in ("${env}", "${interpreter}", "${program}")]
    if plain[:2] != ["segbench", "fit"]:
        raise InputError(
            f"{path}: command: must begin with [segbench, fit]: a study's cells are its run folders"
        )
    if not words or words[-1] not in ARGS:
        raise InputError(
            f"{path}: command: must end in ${{args_json}}: what comes after it would override the "
            "values of the sweep"
        )


def _check_parameter(path: Path, key: str, given: Any, method: str) -> None:
    if not isinstance(given, dict):
        raise InputError(f"{path}: {key}: {given}; give it as value: or values:")
    if "parameters" in given:
        raise InputError(
            f"{path}: {key}: nested parameters lose the rest of the configuration at W&B; write "
            f"{key}.<name>"
        )
    known = {"values", "value", "min", "max", "distribution", "q"}
    if unknown := [str(word) for word in given if word not in known]:
        raise InputError(
            f"{path}: {key}.{unknown[0]}: not known; one of {', '.join(sorted(known))}"
        )
    if "values" in given and "value" in given:
        raise InputError(f"{path}: {key}: has value and values; give one of them")
    fixed = (*OUTSIDE_THE_RESULT, *MACHINE, "run_dir", "ckpt_path", "data.folds")
    if "value" not in given and key in fixed:
        raise InputError(f"{path}: {key}: is the same for all runs of a study; give it as value:")
    if "values" in given and (not isinstance(given["values"], list) or not given["values"]):
        raise InputError(f"{path}: {key}: values must be a list of one or more")
    if "values" not in given and "value" not in given:
        if method == "grid":
            raise InputError(f"{path}: {key}: a grid needs values or value")
        _draw(path, key, given, np.random.default_rng(0))
    values = given.get("values", [given.get("value")])
    if key == "data.root" and not all(isinstance(value, str) and value for value in values):
        raise InputError(f"{path}: {key}: {values[0]}; give the folder of a data set")
    if len({json.dumps(value, sort_keys=True) for value in values}) < len(values):
        raise InputError(f"{path}: {key}: a value stands there twice")
    if key == SEED and not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        raise InputError(f"{path}: {key}: {values}; give whole numbers")


def _draw(path: Path, key: str, given: dict[str, Any], rng: np.random.Generator) -> Any:
    """A value of a parameter, by W&B's names of distributions."""
    if "value" in given:
        return given["value"]
    if "values" in given:
        return given["values"][int(rng.integers(len(given["values"])))]
    try:
        low, high = float(given["min"]), float(given["max"])
        whole = isinstance(given["min"], int) and isinstance(given["max"], int)
        kind = given.get("distribution", "int_uniform" if whole else "uniform")
        match kind:
            case "int_uniform":
                return int(rng.integers(int(low), int(high) + 1))
            case "uniform":
                return float(rng.uniform(low, high))
            case "log_uniform_values":
                return _three_digits(math.exp(rng.uniform(math.log(low), math.log(high))))
            case "q_uniform":
                return float(round(rng.uniform(low, high) / given["q"]) * given["q"])
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"{path}: {key}: needs values, or min and max > 0 ({error})") from None
    raise InputError(
        f"{path}: {key}: distribution {kind}; segbench draws int_uniform, uniform, "
        "log_uniform_values and q_uniform"
    )


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")  # a rate that a person can read and write again


def _cell(args: dict[str, Any], varied: list[str], folds: bool) -> Cell:
    arm = {key: args[key] for key in varied}
    fold = args.get(FOLD, 0) if folds else None
    return Cell(cell_name(arm, args[SEED], fold), arm, args[SEED], fold, args)


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as it is for segbench fit, and 2024-05-01 a word."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        first: [(tag, found) for tag, found in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_value(text: str) -> Any:
    """A value as it is written on a command line."""
    try:
        return parse_yaml(text, "", loader=_Loader)
    except InputError:
        return text


def _read_yaml(path: Path) -> dict[str, Any]:
    content = read_yaml(path, loader=_Loader)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must map keys to values")
    return content


def as_text(command: Sequence[str]) -> str:
    """A command as a shell takes it."""
    return shlex.join(command)
