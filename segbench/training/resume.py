"""Which folder a run writes into, and which checkpoint it goes on from."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from segbench.claim import Claim
from segbench.errors import InputError
from segbench.logged import STUDY, SWEEP, VARIES
from segbench.models.weights import read_checkpoint
from segbench.runs import OUTSIDE_THE_RESULT, RunFolder, cell_name, free_path

CHILD = "SEGBENCH_RUN_DIR"
"""Tells the processes that Lightning starts for further devices where the run lies."""

TO_GO_ON = (
    *("epoch", "global_step", "loops", "optimizer_states", "lr_schedulers"),
    *("pytorch-lightning_version", "callbacks", "FitRecorder"),
)
"""What a checkpoint holds beside the weights, for a run to end as if it had not been stopped."""


def first_process() -> bool:
    """Whether this one speaks for all, before Lightning starts others beside it and after."""
    rank: int = rank_zero_only.rank  # type: ignore[attr-defined]
    return rank == 0


@contextmanager
def claimed(config: Namespace, config_text: str, arm: Mapping[str, Any]) -> Iterator[RunFolder]:
    """The folder this run may write into, locked against other processes.

    A study's engine claims the folder before it starts the run, which inherits the claim.

    Raises:
        InputError: the folder holds a run and none was asked to go on, or one of another
            configuration; or another process is at it.
    """
    of_the_first = _claimed_by_the_first(config)
    run = of_the_first or RunFolder(_folder(config, arm))
    if run.record.exists() and config["ckpt_path"] is None and SWEEP in os.environ:
        config["ckpt_path"] = "last"  # an agent does not know that this cell was begun before
    if of_the_first is not None:
        yield run
        return
    if run.record.exists():
        _check_same(run, config, config_text)
    claim = Claim.on(run.path)
    if claim is None:
        raise InputError(
            f"{run.path}: another process is writing this run; wait for it, or give another "
            "--run_dir"
        )
    with claim:
        os.environ[CHILD] = str(run.path)
        try:
            for leftover in run.path.glob("**/.*.part"):  # of a write that was killed
                leftover.unlink()
            yield run
        finally:
            del os.environ[CHILD]


def _claimed_by_the_first(config: Namespace) -> RunFolder | None:
    """Where the run of several processes lies, or None in the first of them, which claims it."""
    if CHILD in os.environ:  # started by Lightning for a further device, by a process with a claim
        return RunFolder(Path(os.environ[CHILD]))
    if int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) == 0:
        return None
    if config["run_dir"] is None:
        raise InputError("--run_dir: processes that torchrun or Slurm started need to be told")
    return RunFolder(Path(config["run_dir"]))


def _check_same(run: RunFolder, config: Namespace, config_text: str) -> None:
    if config["ckpt_path"] is None:
        raise InputError(
            f"--run_dir {run.path}: holds a run already; go on with it by --ckpt_path last, or "
            "give another folder"
        )
    changed = changed_keys(run.read_config(), yaml.safe_load(config_text))
    if changed:
        raise InputError(
            f"--run_dir {run.path}: its run has another {', '.join(changed)}; go on with "
            f"--config {run.config}, or give another folder"
        )


def begins(wanted: str | None, run: RunFolder) -> bool:
    """Whether there is nothing to go on from.

    ``last`` of a run that was stopped before its first epoch ended means the beginning.
    """
    return wanted is None or (wanted == "last" and run.config.exists() and not run.last.exists())


def checkpoint(wanted: str | None, run: RunFolder, needs: Sequence[str] = ()) -> Path | None:
    """The file to go on from, or None to begin.

    ``needs`` are the keys that it must have beside the weights.

    Raises:
        InputError: no such file, or one that is damaged or holds more than tensors.
    """
    if begins(wanted, run):
        return None
    assert wanted is not None
    path = {"best": run.best, "last": run.last}.get(wanted, Path(wanted))
    if not path.is_file():
        raise InputError(f"--ckpt_path {wanted}: there is no {path}")
    if path not in (run.best, run.last):
        remedy = "give another --ckpt_path"
    elif path == run.last and run.best.exists():
        remedy = "go on from --ckpt_path best"
    else:
        remedy = f"go on from the beginning: remove {run.path} and fit again"
    found = read_checkpoint(path, remedy)
    has = found.keys() | found.get("callbacks", {}).keys()
    if missing := [key for key in needs if key not in has]:
        raise InputError(f"{path}: has weights, but no {missing[0]} to go on from; {remedy}")
    return path


def load_weights(task: nn.Module, path: Path) -> None:
    """Put a checkpoint's weights into the task.

    Lightning's own ``ckpt_path`` would also rewind the callbacks to where they were then.

    Raises:
        InputError: they are those of another network.
    """
    stored = torch.load(path, weights_only=True, map_location="cpu")
    try:
        task.load_state_dict(stored["state_dict"])
    except (KeyError, RuntimeError):
        raise InputError(
            f"{path}: holds another network than the configuration describes; use the config.yaml "
            "that lies beside it"
        ) from None


def _folder(config: Namespace, arm: Mapping[str, Any]) -> Path:
    if config["run_dir"]:
        return Path(config["run_dir"])
    seed, data = config["seed_everything"], config["data"]
    if sweep := os.environ.get(SWEEP):
        study = Path(os.environ.get(STUDY) or Path("runs") / sweep)
        varies = os.environ.get(VARIES)
        named = {k: v for k, v in arm.items() if varies is None or k in varies.split(",")}
        return study / cell_name(named, seed, data["fold"] if data["folds"] else None)
    if config["ckpt_path"] in ("best", "last"):
        raise InputError(f"--ckpt_path {config['ckpt_path']}: of which run? name it with --run_dir")
    network = "-".join(filter(None, (config["model"]["architecture"], config["model"]["backbone"])))
    return free_path(Path("runs") / Path(data["root"]).resolve().name / f"{network}_seed-{seed}")


def changed_keys(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    changed = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += changed_keys(old, new, f"{prefix}{key}.")
        elif old != new and prefix + key not in OUTSIDE_THE_RESULT:
            changed.append(f"{prefix}{key} ({old} -> {new})")
    return changed
