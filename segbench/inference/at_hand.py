"""The data set of a finished run, where it is at hand."""

from pathlib import Path

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
