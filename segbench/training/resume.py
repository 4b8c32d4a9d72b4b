"""Which folder a run writes into, and which checkpoint it goes on from."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from torch import nn

from segbench.errors import InputError
from segbench.runs import RunFolder, free_path
from segbench.training.config import OUTSIDE_THE_RESULT


def claim(config: Namespace, config_text: str) -> RunFolder:
    """The folder this run may write into.

    Raises:
        InputError: it holds a run, and none that was asked to go on, or one of another
            configuration.
    """
    wanted: str | None = config["run_dir"]
    if wanted is None:
        if config["ckpt_path"] in ("best", "last"):
            raise InputError(
                f"--ckpt_path {config['ckpt_path']}: of which run? name it with --run_dir"
            )
        # children that Lightning starts for further devices share the choice of the first
        chosen = os.environ.get("SEGBENCH_RUN_DIR")
        if chosen is None:
            chosen = str(_free_default(config))
            os.environ["SEGBENCH_RUN_DIR"] = chosen
        return RunFolder(Path(chosen))
    run = RunFolder(Path(wanted))
    if run.record.exists() and "LOCAL_RANK" not in os.environ:
        if config["ckpt_path"] is None:
            raise InputError(
                f"--run_dir {wanted}: holds a run already; go on with it by --ckpt_path last, or "
                "give another folder"
            )
        changed = _changed_keys(run.read_config(), yaml.safe_load(config_text))
        if changed:
            raise InputError(
                f"--run_dir {wanted}: its run has another {', '.join(changed)}; go on with "
                f"--config {run.config}, or give another folder"
            )
    return run


def checkpoint(wanted: str | None, run: RunFolder) -> Path | None:
    """The file to go on from, or None to begin.

    ``last`` of a run that was stopped before its first epoch ended means the beginning.

    Raises:
        InputError: no such file, or one that is damaged or holds more than tensors.
    """
    if wanted is None or (wanted == "last" and run.record.exists() and not run.last.exists()):
        return None
    path = {"best": run.best, "last": run.last}.get(wanted, Path(wanted))
    if not path.is_file():
        raise InputError(f"--ckpt_path {wanted}: there is no {path}")
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums
            if archive.testzip() is not None:
                raise zipfile.BadZipFile
        torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: holds more than tensors and plain values, so loading it could run foreign "
            "code; only checkpoints that segbench wrote are loaded"
        ) from None
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        other = "--ckpt_path best" if path != run.best and run.best.exists() else "the beginning"
        raise InputError(
            f"{path}: damaged ({type(error).__name__}); go on from {other}"
            + ("" if other.startswith("--") else f": remove {run.path} and fit again")
        ) from None
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


def _free_default(config: Namespace) -> Path:
    model, data = config["model"], config["data"]
    network = "-".join(filter(None, (model["architecture"], model["backbone"])))
    slug = f"{network}_seed-{config['seed_everything']}"
    return free_path(Path("runs") / Path(data["root"]).resolve().name / slug)


def _changed_keys(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    changed = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += _changed_keys(old, new, f"{prefix}{key}.")
        elif old != new and prefix + key not in OUTSIDE_THE_RESULT:
            changed.append(f"{prefix}{key} ({old} -> {new})")
    return changed
