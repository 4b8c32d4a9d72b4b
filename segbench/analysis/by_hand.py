"""Runs that no plan names: what varies between them."""

from collections import defaultdict
from typing import Any

from segbench.analysis.configs import config_of, recipe_of
from segbench.errors import InputError
from segbench.runs import RunFolder
from segbench.study.plan import level_name

Key = tuple[str, ...]
Found = tuple[RunFolder, dict[str, Any]]
Cells = dict[tuple[Key, int], list[tuple[RunFolder, dict[str, Any], dict[str, Any]]]]
"""Of each arm and seed the runs, with run.json and the arm's levels."""


def cells_by_hand(found: list[Found]) -> Cells:
    """Runs made one by one, by arm and seed.

    What they were given and do not share is what varies; and of what else their configurations do
    not share as much as it takes to tell them apart, so that the seeds of an arm differ in nothing.

    Raises:
        InputError: two runs of one arm, seed and fold.
    """
    values = [_values(run, record) for run, record in found]
    done = [one for one, (_, record) in zip(values, found, strict=True) if is_done(record)]
    asked = dict.fromkeys(key for _, record in found for key in record["arm"])
    varied = [key for key in asked if _differ(done, key)]
    for key in dict.fromkeys(key for one in done for key in one):
        arms: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for one in done:
            if key in one:  # another version's configuration may not have it
                arms[tuple(level_name(k, one.get(k)) for k in varied)].append(one)
        if key not in varied and any(_differ(alike, key) for alike in arms.values()):
            varied.append(key)
    cells: Cells = defaultdict(list)
    for (run, record), one in zip(found, values, strict=True):
        levels = {key: one.get(key) for key in varied} or {"run": run.path.parent.name}
        name = tuple(level_name(k, v) for k, v in levels.items())
        cells[name, record["seed"]].append((run, record, levels))
    for (_, seed), runs in cells.items():
        folds = [record["fold"] for _, record, _ in runs]
        if len(set(folds)) < len(folds):
            names = " and ".join(run.path.name for run, _, _ in runs)
            raise InputError(f"{runs[0][0].path.parent}: {names} are the same arm and seed {seed}")
    return cells


def is_done(record: dict[str, Any]) -> bool:
    """Whether a run ended by itself, and is not stopped or still at it."""
    return record["status"] in ("finished", "diverged")


def _values(run: RunFolder, record: dict[str, Any]) -> dict[str, Any]:
    """What a run was given, and the rest of its configuration, which decides where both say."""
    given: dict[str, Any] = record["arm"]
    try:
        return given | recipe_of(config_of(run))
    except InputError:
        if is_done(record):
            raise
        return given


def _differ(values: list[dict[str, Any]], key: str) -> bool:
    return len({repr(one.get(key)) for one in values}) > 1
