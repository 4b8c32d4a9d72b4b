"""The configurations of runs, and what two of them share."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from segbench.runs import MACHINE, OUTSIDE_THE_RESULT, RunFolder, dotted

OF_A_CELL = ("seed_everything", "data.seed", "data.fold")


def config_of(run: RunFolder) -> dict[str, Any]:
    """The resolved configuration of a run, with dotted keys."""
    return dotted(run.read_config())


def recipe_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what belongs to a cell or to a machine."""
    leave_out = {*OF_A_CELL, *OUTSIDE_THE_RESULT, *MACHINE}
    return {key: value for key, value in config.items() if key not in leave_out}


def rest_of(config: Mapping[str, Any], varied: Collection[str]) -> str:
    """All of a recipe but ``varied``, as one text to compare."""
    rest = {key: value for key, value in recipe_of(config).items() if key not in varied}
    return json.dumps(rest, sort_keys=True, default=str)
