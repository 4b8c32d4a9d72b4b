"""The plan of a study: what is compared, how, and with which runs, fixed before the first run.

``study.yaml`` in the study's folder. Its hash covers all that a verdict depends on, so that
whoever reads a verdict can tell that nothing was chosen after looking.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from segbench.errors import InputError
from segbench.files import write_atomic
from segbench.runs import RunFolder, YamlLoader, fingerprint
from segbench.study.spec import FOLD, SEED, Cell

FORMAT = 1
HASHED = ("method", "command", "parameters", "files", "data", "plan", "cells")


@dataclass(frozen=True)
class Plan:
    """A study's plan as it stands in study.yaml."""

    folder: Path
    content: dict[str, Any]

    @property
    def path(self) -> Path:
        return self.folder / "study.yaml"

    @property
    def cells(self) -> list[Cell]:
        """Those planned first, then those of each extension."""
        parts = [self.content["cells"], *(e["cells"] for e in self.content["extensions"])]
        return [Cell(**cell) for part in parts for cell in part]

    @property
    def factors(self) -> dict[str, list[Any]]:
        """What varies, with its values, the baseline first and extensions last."""
        factors = {key: list(values) for key, values in self.content["plan"]["factors"].items()}
        for extension in self.content["extensions"]:
            for key, values in extension["factors"].items():
                known = factors.setdefault(key, [])
                known += [value for value in values if value not in known]
        return factors

    @property
    def hash(self) -> str:
        return str(self.content["hash"])

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.content, sort_keys=False, allow_unicode=True, width=100)
        write_atomic(self.path, text)


def read_plan(folder: Path) -> Plan:
    """The plan in ``folder``.

    Raises:
        InputError: missing, damaged, changed by hand, or of another format version.
    """
    path = folder / "study.yaml"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), YamlLoader)
        hashed = {key: content[key] for key in HASHED}
        plan = Plan(folder, content)
        intact = fingerprint(hashed) == plan.hash and all(cell.name for cell in plan.cells)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not readable as a plan ({type(error).__name__})") from None
    if content["format"] != FORMAT:
        raise InputError(f"{path}: format {content['format']}, this segbench reads {FORMAT}")
    if not intact:
        raise InputError(
            f"{path}: differs from its hash; a plan is not changed after it was made: restore it, "
            "or plan anew in another folder"
        )
    return plan


def find_run(folder: Path, cell: Cell, records: Mapping[Path, Mapping[str, Any]]) -> RunFolder:
    """The folder of a cell: that whose record says so, else the one of its name."""
    for path, record in records.items():
        stands = {SEED: record.get("seed"), FOLD: record.get("fold"), **record["arm"]}
        if same_cell(cell, stands):
            return RunFolder(path)
    return RunFolder(folder / cell.name)


def find_cells(
    plan: Plan, records: Mapping[Path, Mapping[str, Any]]
) -> Iterator[tuple[Cell, RunFolder]]:
    """Each cell of a plan with its folder; ``records`` are run.json by folder."""
    for cell in plan.cells:
        yield cell, find_run(plan.folder, cell, records)


def same_cell(cell: Cell, keys: Mapping[str, Any]) -> bool:
    """Whether dotted ``keys`` with their values are those of a cell, and maybe more."""
    wanted = {SEED: cell.seed, FOLD: cell.fold, **cell.arm}
    return all(keys.get(key) == value for key, value in wanted.items())


def seeds_of(cells: Iterable[Cell]) -> int:
    """How many seeds each arm has."""
    return len({cell.seed for cell in cells})
