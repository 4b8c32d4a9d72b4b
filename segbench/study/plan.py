"""The plan of a study: what is compared, how, and with which runs, fixed before the first run.

``study.yaml`` in the study's folder. Its hash covers all that a verdict depends on, so that
whoever reads a verdict can tell that nothing was chosen after looking.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from segbench.errors import InputError
from segbench.files import write_atomic
from segbench.reading import check_shape, read_yaml
from segbench.runs import MACHINE, OUTSIDE_THE_RESULT, RunFolder, fingerprint
from segbench.shapes import PLAN
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
    def first_cells(self) -> list[Cell]:
        """Those planned before any run."""
        return [Cell(**cell) for cell in self.content["cells"]]

    @property
    def cells(self) -> list[Cell]:
        """Those planned first, then those of each extension."""
        extensions = (cell for one in self.content["extensions"] for cell in one["cells"])
        return [*self.first_cells, *(Cell(**cell) for cell in extensions)]

    @property
    def first_arms(self) -> list[str]:
        """The arms planned before any run, the baseline first; of a random search none."""
        return arms_of(self.first_cells) if self.content["method"] == "grid" else []

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

    def check_files(self, contents: Mapping[str, str]) -> None:
        """Refuse to go on where a configuration file was changed since the plan was made.

        Raises:
            InputError: the first that differs.
        """
        planned: dict[str, str] = dict(self.content["files"])
        for extension in self.content["extensions"]:
            planned |= extension["files"]
        for name, found in contents.items():
            if planned.get(name, found) != found:
                raise InputError(
                    f"{name}: was changed while its study runs; undo the change, and the same "
                    "command goes on"
                )

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.content, sort_keys=False, allow_unicode=True, width=100)
        if not self.path.exists() or self.path.read_text(encoding="utf-8") != text:
            write_atomic(self.path, text)


def read_plan(folder: Path) -> Plan:
    """The plan in ``folder``.

    Raises:
        InputError: missing, damaged, changed by hand, or of another format version.
    """
    path = folder / "study.yaml"
    remedy = "restore it, or plan anew in another folder"
    content = read_yaml(path, remedy)
    if isinstance(content, dict) and content.get("format") != FORMAT:
        raise InputError(
            f"{path}: format {content.get('format')}, this segbench reads {FORMAT}; read it with "
            "the segbench that wrote it"
        )
    check_shape(content, PLAN, path, remedy)
    plan = Plan(folder, content)
    intact = fingerprint({key: content[key] for key in HASHED}) == plan.hash
    before = plan.hash
    for extension in content["extensions"]:
        intact = intact and extension["hash"] == hash_of_extension(before, extension)
        before = extension["hash"]
    if not intact or len({frozenset(cell.arm) for cell in plan.cells}) > 1:
        raise InputError(
            f"{path}: differs from its hash; a plan is not changed after it was made: restore it, "
            "or plan anew in another folder"
        )
    return plan


def hash_of_extension(before: str, extension: Mapping[str, Any]) -> str:
    """A link of the chain that begins with the plan's hash."""
    return fingerprint([before, {k: v for k, v in extension.items() if k != "hash"}])


def find_cells(
    plan: Plan, records: Mapping[Path, Mapping[str, Any]]
) -> Iterator[tuple[Cell, RunFolder]]:
    """Each cell of a plan with its folder; ``records`` are run.json by folder.

    Agents started by hand name folders in their own way: a run is known by its record.

    Raises:
        InputError: the folder of a cell's name holds another run.
    """
    for cell in plan.cells:
        own = plan.folder / cell.name
        same = [path for path, record in records.items() if is_of(cell, record)]
        if own in records and own not in same:
            raise InputError(
                f"{own}: holds another run than the plan asks for (its arm or seed differ); move "
                "it away"
            )
        same.sort(key=lambda path: (path != own, records[path]["status"] != "finished"))
        yield cell, RunFolder(same[0] if same else own)


def is_of(cell: Cell, record: Mapping[str, Any]) -> bool:
    """Whether a run is that of a cell: the same seed and fold, and all that it was given."""
    given = {k: v for k, v in cell.args.items() if k not in _NOT_IN_AN_ARM}
    place = (record.get("seed"), record.get("fold"))
    return place == (cell.seed, cell.fold) and has(record["arm"], given)


def has(keys: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether dotted ``keys`` hold the ``wanted`` ones, with their values and types."""
    return all(
        key in keys
        and keys[key] == value
        and isinstance(keys[key], bool) == isinstance(value, bool)
        for key, value in wanted.items()
    )


def arm_name(levels: Mapping[str, Any]) -> str:
    """What an arm is called: the names of its levels."""
    return ", ".join(level_name(key, value) for key, value in levels.items())


def level_name(key: str, value: Any) -> str:
    """A factor's value as a person says it: a file by its name, a switch as on or off."""
    if key == "config":
        return Path(str(value)).stem
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def pairs(contrasts: str | Sequence[str], arms: Sequence[str]) -> list[tuple[int, int]]:
    """The pairs (baseline, arm) that a plan contrasts, as numbers of its arms.

    Args:
        contrasts: ``baseline``, each against the first; ``all_pairs``; or a list, each ``ARM -
            BASELINE``.
        arms: their names.

    Raises:
        InputError: a pair that names no two arms.
    """
    numbers = range(len(arms))
    if contrasts == "baseline":
        return [(0, arm) for arm in numbers[1:]]
    if contrasts == "all_pairs":
        return list(combinations(numbers, 2))
    found = []
    for text in contrasts:
        names = str(text).split(" - ")
        if len(names) != 2 or not set(names) <= set(arms) or names[0] == names[1]:
            raise InputError(
                f"plan.contrasts: {text!r}; give ARM - BASELINE, of the arms {', '.join(arms)}"
            )
        found.append((arms.index(names[1]), arms.index(names[0])))
    return found


_NOT_IN_AN_ARM = {SEED, FOLD, *OUTSIDE_THE_RESULT, *MACHINE}


def arms_of(cells: Iterable[Cell]) -> list[str]:
    """The names of the arms of cells, in their order."""
    return list(dict.fromkeys(arm_name(cell.arm) for cell in cells))


def seeds_of(cells: Iterable[Cell]) -> int:
    """How many seeds each arm has."""
    return len({cell.seed for cell in cells})
