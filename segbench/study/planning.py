"""Making a plan from a sweep file, and holding a plan that is there against what is asked."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segbench.data.dataset import DataSet, read_data_set
from segbench.errors import InputError
from segbench.runs import find_runs, fingerprint
from segbench.study.plan import FORMAT, Plan, arms_of, hash_of_extension, pairs, read_plan
from segbench.study.spec import Cell, Sweep

OPTIONS: dict[str, Callable[[Any], bool]] = {
    "contrasts": lambda v: v in ("baseline", "all_pairs") or (isinstance(v, list) and v != []),
    "margin": lambda v: _number(v) and 0 < v < 1,
    "alpha": lambda v: _number(v) and 0 < v < 0.5,
    "power": lambda v: _number(v) and 0.5 <= v < 1,
    "looks": lambda v: isinstance(v, list) and len(v) > 0 and all(type(n) is int for n in v),
    "paired": lambda v: isinstance(v, bool),
    "estimand": lambda v: v in ("method", "test_set", "checkpoints"),
}
"""What a sweep file's ``plan`` may set, and to what; docs/STATISTICS.md says what each means."""


def plan_study(sweep: Sweep, folder: Path, data: dict[str, Any], after: bool = False) -> Plan:
    """The plan of a new study: the sweep's cells, and the rules its verdicts will follow.

    Args:
        sweep: what to run.
        folder: where the study lies.
        data: what :func:`tested_by` or :func:`tested_in` says.
        after: whether it is made when the runs are there already; verdicts are post hoc then.

    Raises:
        InputError: an option of the sweep's ``plan`` that cannot be.
    """
    cells = sweep.cells()
    seeds = sorted({cell.seed for cell in cells})
    given = _options(sweep)
    looks = given.get("looks") or [len(seeds)]
    if sorted(looks) != looks or looks[0] < 1 or len(seeds) not in looks:
        raise InputError(
            f"{sweep.path}: plan.looks: {looks} must rise and contain the {len(seeds)} seeds given"
        )
    pairs(given.get("contrasts", "baseline"), arms_of(cells))  # are there such arms?
    plan = {
        "made": "after the runs" if after else "before the runs",
        "factors": sweep.factors,
        "contrasts": given.get("contrasts", "baseline"),
        "metric": "mean_iou",
        "margin": given.get("margin", 0.02 if data["images"] < 200 else 0.01),
        "alpha": given.get("alpha", 0.05),
        "power": given.get("power", 0.8),
        "seeds": seeds,
        "looks": looks,
        "paired": given.get("paired", False),
        "estimand": given.get("estimand", "method"),
        "randomises": ["initialisation", "order of samples", "crops", "augmentation"],
    }
    hashed = {
        "method": sweep.content["method"],
        "command": sweep.content["command"],
        "parameters": sweep.parameters,
        "files": sweep.contents() if sweep.path.is_file() else {},  # of a pulled one: not here
        "data": data,
        "plan": plan,
        "cells": [vars(cell) for cell in cells],
    }
    return Plan(
        folder,
        {
            "format": FORMAT,
            "name": sweep.name,
            "sweep": str(sweep.path),
            "created": _now(),
            "hash": fingerprint(hashed),
            **hashed,
            "extensions": [],
        },
    )


def settled_plan(wanted: Plan, extend: bool, idle: bool = True) -> Plan:
    """The plan to follow: ``wanted``, or what stands in its folder where that asks the same.

    A plan of which nothing has run yet gives way. Nothing is written.

    Args:
        wanted: what is asked now.
        extend: whether runs may be added.
        idle: whether no engine is at the study.

    Raises:
        InputError: the folder's plan is another, and is not just less of the same with ``extend``.
    """
    begun = any(wanted.folder.glob("*/run.json"))
    if not wanted.path.exists() or (idle and not begun):
        return wanted
    found = read_plan(wanted.folder)
    differences = _differences(_question(found), _question(wanted))
    looks = [plan.content["plan"]["looks"] for plan in (found, wanted)]
    if looks[1] != [len(wanted.content["plan"]["seeds"])] and looks[0] != looks[1]:
        differences.append(f"plan.looks ({looks[0]} there, {looks[1]} here)")
    if differences:
        raise InputError(
            f"{found.path}: the study that lies there asks something else: {'; '.join(differences)}"
            "; give another --out, or undo the change"
        )
    known = {_identity(cell) for cell in found.cells}
    more = [cell for cell in wanted.cells if _identity(cell) not in known]
    if not more:
        return found
    if not extend:
        raise InputError(
            f"{found.path}: {len(more)} runs are not in its plan ({more[0].name}, ...); add them "
            "with --extend, or give another --out"
        )
    return _extended(found, wanted, more)


def _extended(found: Plan, wanted: Plan, more: list[Cell]) -> Plan:
    extension = {
        "created": _now(),
        "kind": "declared look" if _is_declared(found, more) else "exploratory",
        "factors": wanted.content["plan"]["factors"],
        "files": {
            name: hashed
            for name, hashed in wanted.content["files"].items()
            if name not in found.content["files"]
        },
        "cells": [vars(cell) for cell in more],
    }
    last = [found.hash, *(e["hash"] for e in found.content["extensions"])][-1]
    extension["hash"] = hash_of_extension(last, extension)
    content = found.content | {"extensions": [*found.content["extensions"], extension]}
    return Plan(found.folder, content)


def _is_declared(found: Plan, more: list[Cell]) -> bool:
    """Whether every arm, and no other, comes to have the seeds of a declared look."""
    before = {(_key(cell.arm), cell.fold) for cell in found.cells}
    after: dict[tuple[str, int | None], set[int]] = {}
    for cell in [*found.cells, *more]:
        after.setdefault((_key(cell.arm), cell.fold), set()).add(cell.seed)
    seeds = list(after.values())
    looks = found.content["plan"]["looks"]
    return after.keys() == before and all(s == seeds[0] for s in seeds) and len(seeds[0]) in looks


def _options(sweep: Sweep) -> dict[str, Any]:
    given = sweep.content.get("plan") or {}
    if not isinstance(given, dict):
        raise InputError(
            f"{sweep.path}: plan: {given}; give keys with values, as contrasts: all_pairs"
        )
    for key, value in given.items():
        if key not in OPTIONS:
            raise InputError(f"{sweep.path}: plan.{key}: no such key; one of {', '.join(OPTIONS)}")
        if not OPTIONS[key](value):
            raise InputError(f"{sweep.path}: plan.{key}: {value} cannot be")
    return dict(given)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def tested_by(sweep: Sweep) -> dict[str, Any]:
    """What the plan says of a sweep's data set: its content, and the size of what is tested.

    Raises:
        InputError: no data set, or one that cannot be split so.
    """
    root = Path(str(sweep.resolved("data.root", "data/scenes")))
    folds = sweep.resolved("data.folds", None)
    data_set: DataSet = read_data_set(root, folds)
    everything = (*data_set.train, *data_set.val, *data_set.test)
    tested = everything if folds else data_set.test
    return {
        "root": str(root),
        "fingerprint": data_set.fingerprint,
        "images": len(tested),
        "groups": len({pair.group for pair in tested}),
        "classes": [c.name for c in data_set.classes],
    }


def tested_in(folder: Path) -> dict[str, Any]:
    """The same, from the runs of a study whose data set is not at hand."""
    runs = find_runs(folder)
    tested = [run.read_counts() for run in runs if run.counts.exists()]
    if not tested:
        raise InputError(f"{folder}: none of its runs was tested")
    return {
        "root": str(runs[0].read_config()["data"]["root"]),
        "fingerprint": runs[0].read_record()["fingerprints"]["data"],
        "images": len({image for one in tested for image in one.images}),
        "groups": len({group for one in tested for group in one.groups}),
        "classes": tested[0].classes,
    }


def _question(plan: Plan) -> dict[str, Any]:
    """All of a plan that an extension must leave alone."""
    content = plan.content
    kept = {
        key: content["plan"][key]
        for key in content["plan"]
        if key not in ("made", "seeds", "looks")
    }
    # of what varies, new values may come at the end of the list
    factors = kept.pop("factors")
    constants = {k: given for k, given in content["parameters"].items() if "value" in given}
    constants.pop("seed_everything", None)
    data = {k: v for k, v in content["data"].items() if k != "root"}
    files = {**content["files"]}
    for extension in content["extensions"]:
        files |= extension["files"]
    return {
        "method": content["method"],
        "command": content["command"],
        **{f"parameters.{key}": given["value"] for key, given in constants.items()},
        "factors": sorted(factors),
        **{f"baseline of {key}": values[0] for key, values in factors.items()},
        **{f"the content of {name}": hashed for name, hashed in files.items()},
        **{f"data.{key}": value for key, value in data.items()},
        **{f"plan.{key}": value for key, value in kept.items()},
    }


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    keys = [key for key in keys if key != "parameters.data.root"]  # its content counts
    # files come with arms that are added, and a study that was pulled knows none
    keys = [k for k in keys if not k.startswith("the content") or (k in found and k in wanted)]
    return [f"{key} ({found.get(key)} there, {wanted.get(key)} here)" for key in keys]


def _identity(cell: Cell) -> tuple[str, int, int | None]:
    return _key(cell.arm), cell.seed, cell.fold


def _key(arm: Mapping[str, Any]) -> str:
    return json.dumps(arm, sort_keys=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
