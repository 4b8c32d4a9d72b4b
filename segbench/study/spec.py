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
from typing import Any

import numpy as np
import yaml

from segbench.errors import InputError
from segbench.runs import cell_name, fingerprint

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
        cells = [_cell(args, self.varied) for args in draws]
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
        """The configuration files that its cells are made of."""
        words = [str(word) for word in self.content["command"]]
        named = [after for before, after in pairwise(words) if before == "--config"]
        given = self.parameters.get("config", {})
        named += given.get("values", [given["value"]] if "value" in given else [])
        return [str(name) for name in named if not str(name).startswith("${")]

    def contents(self) -> dict[str, str]:
        """A fingerprint of each of these files that is at hand."""
        found = [name for name in self.files if Path(name).is_file()]
        return {name: fingerprint(_flat(_read_yaml(Path(name)))) for name in found}

    def resolved(self, key: str, default: Any) -> Any:
        """A key's value in the first cell, looked up where ``segbench fit`` would."""
        args = self.cells()[0].args
        varied = self.parameters.get("config", {}).get("values", [])
        value = default
        for file in self.files:
            if file not in varied or file == args["config"]:
                value = _flat(_read_yaml(Path(file))).get(key, value)
        return args.get(key, value)


def read_sweep(path: Path, constants: Mapping[str, Any], seeds: int | None = None) -> Sweep:
    """Read a sweep file.

    Args:
        path: the file.
        constants: parameters to add, or to fix, for every cell; dotted keys.
        seeds: replace the values of seed_everything by 0 .. seeds - 1.

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
    parameters.setdefault(SEED, {"value": 0})
    content = {**content, "parameters": parameters}
    check_sweep(path, content)
    return Sweep(path, content)


def check_sweep(path: Path, content: dict[str, Any]) -> None:
    """Refuse what is no sweep, or one that only W&B's server could run; ``path`` names it.

    Raises:
        InputError: the first thing that is wrong.
    """
    for key in content:
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
    if method == "random" and not isinstance(content.get("run_cap"), int):
        raise InputError(f"{path}: run_cap: say how many random draws to run")
    parameters = content["parameters"]
    _check_command(path, content)
    for key, given in parameters.items():
        _check_parameter(path, key, given, method)


def _check_command(path: Path, content: dict[str, Any]) -> None:
    command = content.get("command")
    words = [str(word) for word in command] if isinstance(command, list) else []
    plain = [word for word in words if word not in ("${env}", "${interpreter}", "${program}")]
    if plain[:2] != ["segbench", "fit"]:
        raise InputError(
            f"{path}: command: must begin with [segbench, fit]: a study's cells are its run folders"
        )
    if not set(words) & set(ARGS):
        raise InputError(
            f"{path}: command: has no ${{args_json}}, so that all cells would be alike"
        )


def _check_parameter(path: Path, key: str, given: Any, method: str) -> None:
    if not isinstance(given, dict):
        raise InputError(f"{path}: {key}: {given}; give it as value: or values:")
    if "parameters" in given:
        raise InputError(
            f"{path}: {key}: nested parameters lose the rest of the configuration at W&B; write "
            f"{key}.<name>"
        )
    if "values" in given and (not isinstance(given["values"], list) or not given["values"]):
        raise InputError(f"{path}: {key}: values must be a list of one or more")
    if "values" not in given and "value" not in given:
        if method == "grid":
            raise InputError(f"{path}: {key}: a grid needs values or value")
        _draw(path, key, given, np.random.default_rng(0))
    values = given.get("values", [given.get("value")])
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
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: {key}: needs values, or min and max > 0 ({error})") from None
    raise InputError(
        f"{path}: {key}: distribution {kind}; segbench draws int_uniform, uniform, "
        "log_uniform_values and q_uniform"
    )


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")  # a rate that a person can read and write again


def _cell(args: dict[str, Any], varied: list[str]) -> Cell:
    arm = {key: args[key] for key in varied}
    fold = args.get(FOLD)
    return Cell(cell_name(arm, args[SEED], fold), arm, args[SEED], fold, args)


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as it is for segbench fit."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_value(text: str) -> Any:
    """A value as it is written on a command line."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: not readable ({reason})") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: must map keys to values")
    return content


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def as_text(command: Sequence[str]) -> str:
    """A command as a shell takes it."""
    return shlex.join(command)
