"""Checkpoints that are whole or not there."""

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


def best_and_last(run: RunFolder) -> ModelCheckpoint:
    """best.ckpt by val/mean_iou, then last.ckpt, at the end of every epoch."""
    checkpoint = ModelCheckpoint(
        dirpath=run.checkpoints,
        filename="best",
        monitor="val/mean_iou",
        mode="max",
        save_last=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
        auto_insert_metric_name=False,
    )
    assert checkpoint.CHECKPOINT_NAME_LAST == "last"
    return checkpoint
