"""Weights & Biases beside the run folder: curves, the configuration, a few predictions."""

import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import WandbLogger

from segbench.data.datamodule import SegmentationData
from segbench.online import answers

PANELS = 4
"""Validation images whose masks are shown."""


def wandb_logger(run_dir: Path, config: Mapping[str, Any]) -> WandbLogger:
    """A logger that is online only where a key is at hand and the server answers.

    Decided here, before wandb is asked: without a key or a network its start would wait for
    100 s and then fail. WANDB_MODE, if set, is obeyed.
    """
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    if "WANDB_MODE" not in os.environ and not (_key_at_hand(server) and answers(server)):
        os.environ["WANDB_MODE"] = "offline"
    os.environ.setdefault("WANDB_SILENT", "true")
    logger = WandbLogger(
        project=os.environ.get("WANDB_PROJECT", "segbench"),
        name=run_dir.name,
        group=run_dir.parent.name,
        save_dir=run_dir,
    )
    if hasattr(logger.experiment, "config"):  # a stand-in everywhere but on rank zero
        logger.experiment.config.update(dict(config), allow_val_change=True)
    return logger


class PredictionPanels(Callback):
    """Logs the masks of the first validation images when the last epoch is validated."""

    def __init__(self, logger: WandbLogger) -> None:
        self.logger = logger
        self.images: list[Any] = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
        if not last or dataloader_idx != 0 or batch_idx >= PANELS or not trainer.is_global_zero:
            return
        import wandb

        data: SegmentationData = trainer.datamodule  # type: ignore[attr-defined]
        labels = {c.id: c.name for c in data.classes}
        step = max(1, max(batch["mask"].shape[1:]) // 512)  # small pictures
        masks = {
            kind: {
                "mask_data": np.asarray(ids[0, ::step, ::step].cpu(), dtype=np.uint8),
                "class_labels": labels,
            }
            for kind, ids in (("prediction", outputs), ("truth", batch["mask"]))
        }
        image = batch["image"][0, :, ::step, ::step].permute(1, 2, 0).cpu().numpy()
        self.images.append(wandb.Image(image, masks=masks, caption=batch["name"][0]))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.images:
            self.logger.experiment.log({"examples": self.images})
            self.images = []


def _key_at_hand(server: str) -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(server).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
