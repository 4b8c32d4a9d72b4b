"""What a finished run was made of, where it is at hand, and whether a probe of it still holds."""

import argparse
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from segbench.arguments import output_file
from segbench.data.dataset import DataSet, read_data_set
from segbench.errors import InputError
from segbench.runs import RunFolder


def data_set_of(run: RunFolder, given: Path | None) -> DataSet | str:
    """The data set that a run was trained on, or why there is none to look at.

    Args:
        run: which.
        given: where it lies now; by default where the run found it.

    Raises:
        InputError: it is not in ``given``.
    """
    config = run.read_config()["data"]
    root = given or Path(config["root"])
    if not root.is_dir():
        if given:
            raise InputError(f"--data {root}: no such folder; give the data set of {run.path}")
        return f"data.root {root} is not here; give the data set with --data"
    try:
        found = read_data_set(root, config.get("folds"), config.get("fold", 0))
    except InputError as error:
        if given:
            raise
        return str(error)
    if found.fingerprint != run.read_record()["fingerprints"]["data"]:
        if given:
            raise InputError(f"--data {root}: is not the data set of {run.path}; give that one")
        return f"{root} is not the data set of {run.path} any more; give it with --data"
    return found


def settings_of(run: RunFolder, **asked: Any) -> dict[str, Any]:
    """What a probe of a run's network depends on; it stands in the probe."""
    record = run.read_record()
    made_by = {"trained": record["fingerprints"], "best_epoch": record.get("best_epoch")}
    return {"code": _code(), **made_by, **asked}


def holds(probe: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> bool:
    """Whether there is a probe, of the same settings: then it is not made again."""
    return probe is not None and all(probe.get(key) == value for key, value in settings.items())


@cache
def _code() -> str:
    from segbench.training.provenance import code_fingerprint  # seconds, for torch

    return code_fingerprint()


def add_probing_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the commands that look at runs with their data and networks."""
    parser.add_argument("study", type=Path, nargs="+", help="a study's folder, or several of one")
    parser.add_argument("--data", type=Path, help="the data set, where it moved since the runs")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--no-measure",
        dest="measure",
        action="store_false",
        help="only what lies in the run folders already",
    )
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write it all as json")
