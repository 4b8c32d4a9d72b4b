"""The configurations of runs, and what two of them share."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from segbench.analysis.study import StudyArm
from segbench.runs import MACHINE, OUTSIDE_THE_RESULT, dotted

OF_A_CELL = ("seed_everything", "data.seed", "data.fold")


def config_of(arm: StudyArm) -> dict[str, Any]:
    """The resolved configuration of an arm's first run, with dotted keys."""
    return dotted(arm.seeds[0].runs[0].read_config())


def rest_of(config: Mapping[str, Any], varied: Collection[str]) -> str:
    """All of a configuration but ``varied``, its cell and its machine, as one text to compare."""
    leave_out = {*varied, *OF_A_CELL, *OUTSIDE_THE_RESULT, *MACHINE}
    rest = {key: value for key, value in config.items() if key not in leave_out}
    return json.dumps(rest, sort_keys=True, default=str)
