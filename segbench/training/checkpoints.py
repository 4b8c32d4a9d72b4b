"""Checkpoints that are whole or not there, after every epoch."""

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from segbench.files import write_atomic
from segbench.runs import RunFolder


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary name, then renames.

    Lightning's own way goes over the system's temporary folder, which may lie on another file
    system, where a rename is a copy that a kill can cut short.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_atomic(Path(path), content.getvalue())


class MovableCheckpoint(ModelCheckpoint):
    """Knows its files by where the run lies now.

    Lightning forgets which checkpoint was best when its folder was moved, and would let the next
    epoch, however bad, take the best one's place.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = Path(str(self.dirpath))

        def moved(path: str) -> str:
            return str(here / Path(path).name) if path else path

        state = dict(state_dict) | {"dirpath": self.dirpath}
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[key] = moved(state[key])
        state["best_k_models"] = {moved(k): v for k, v in state["best_k_models"].items()}
        super().load_state_dict(state)


def best_and_last(run: RunFolder) -> list[ModelCheckpoint]:
    """best.ckpt by val/mean_iou, then last.ckpt, both at the end of every epoch.

    Two of them, because one would write last.ckpt only when there is a new best.
    """
    every_epoch: dict[str, Any] = {
        "dirpath": run.checkpoints,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    return [
        MovableCheckpoint(
            filename=run.best.stem, monitor="val/mean_iou", mode="max", **every_epoch
        ),
        MovableCheckpoint(filename=run.last.stem, **every_epoch),
    ]
