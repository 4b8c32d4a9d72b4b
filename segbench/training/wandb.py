"""Weights & Biases beside the run folder: curves, the configuration, a few predictions."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import WandbLogger

from segbench.data.datamodule import SegmentationData
from segbench.logged import ARTIFACT_OF_RUN, ARTIFACT_OF_TEST_SET, logged_as, remember_run
from segbench.online import wandb_server
from segbench.overlays import EXAMPLES, PANELS, Example, overlays
from segbench.runs import RunFolder
from segbench.training.resume import first_process

if TYPE_CHECKING:
    import wandb

FINISH_TIMEOUT = "300"
"""Seconds that a run's end waits for its uploads; what is left can be sent with wandb sync."""

NOT_UPLOADED = ("checkpoints", "wandb")


def wandb_logger(run: RunFolder, config: Mapping[str, Any]) -> WandbLogger:
    """A logger that is online only where a key is at hand and the server answers.

    Decided here, before wandb is asked: without a key or a network its start would wait for
    100 s and then fail. WANDB_MODE, if set, is obeyed. A run that goes on stays the same run
    at W&B.
    """
    if "WANDB_MODE" not in os.environ and wandb_server() is None:
        os.environ["WANDB_MODE"] = "offline"
    os.environ.setdefault("WANDB_SILENT", "true")
    # by default a run would wait for ever, at its end, for a server that is gone
    os.environ.setdefault("WANDB_FINISH_TIMEOUT", FINISH_TIMEOUT)
    before = logged_as(run)
    if before and "WANDB_RUN_ID" not in os.environ:
        # in a sweep, arguments to this effect would be ignored
        os.environ |= {"WANDB_RUN_ID": before.identity, "WANDB_RESUME": "allow"}
    logger = WandbLogger(
        project=os.environ.get("WANDB_PROJECT", "segbench"),
        name=run.path.name,
        group=run.path.resolve().parent.name,
        save_dir=run.path,
    )
    if first_process():  # the others have a stand-in, which takes every name
        logger.experiment.config.update(dict(config), allow_val_change=True)
        remember_run(run, logger.experiment.path)
    return logger


def log_run_folder(logger: WandbLogger, run: RunFolder) -> None:
    """Log the run folder without its checkpoints, and the study's test set, as artifacts.

    ``segbench pull`` brings both home. W&B stores a test set that it has already only once. A
    server that is gone by now keeps nobody waiting: the run folder is complete without it.
    """
    import wandb

    online = not logger.experiment.offline
    try:
        if online and wandb_server() is None:
            raise ConnectionError
        for artifact in _artifacts(logger.experiment.id, run):
            logger.experiment.log_artifact(artifact)
    except (wandb.Error, ConnectionError):
        print(
            f"segbench: W&B does not answer; {run.path} is complete, and its curves go up later "
            f"with: wandb sync --no-skip-online {shlex.quote(logger.experiment.dir)}/..",
            file=sys.stderr,
        )


def _artifacts(identity: str, run: RunFolder) -> list["wandb.Artifact"]:
    import wandb

    folder = wandb.Artifact(f"run-{identity}", ARTIFACT_OF_RUN, metadata={"folder": run.path.name})
    for path in sorted(path for path in run.path.rglob("*") if path.is_file()):
        name = path.relative_to(run.path)
        if name.parts[0] not in NOT_UPLOADED:
            folder.add_file(str(path), name.as_posix(), policy="immutable")
    if not run.study_test.is_dir():
        return [folder]
    data = run.read_record()["fingerprints"]["data"]
    test_set = wandb.Artifact(f"test-set-{data}", ARTIFACT_OF_TEST_SET)
    test_set.add_dir(str(run.study_test), policy="immutable")
    return [folder, test_set]


class EarlierEpochs(Callback):
    """Gives a run that goes on offline the epochs it had before.

    Offline files are not appended to: the newest holds the whole run.
    """

    def __init__(self, logger: WandbLogger, rows: Callable[[], list[dict[str, float]]]) -> None:
        self.logger, self.rows = logger, rows

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and self.logger.experiment.offline:
            for row in self.rows():
                scores = {key: value for key, value in row.items() if "/" in key}
                self.logger.log_metrics(scores | {"epoch": row["epoch"]}, step=int(row["step"]))


class PredictionPanels(Callback):
    """Logs the masks of the first validation images when the last epoch is validated."""

    def __init__(self, logger: WandbLogger) -> None:
        self.logger = logger
        self.examples: list[Example] = []

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
        masks = {
            kind: np.asarray(ids[0].cpu(), dtype=np.uint8)
            for kind, ids in (("prediction", outputs), ("truth", batch["mask"]))
        }
        image = batch["image"][0].permute(1, 2, 0).cpu().numpy()
        self.examples.append(Example(image, masks, batch["name"][0]))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.examples:
            data: SegmentationData = trainer.datamodule  # type: ignore[attr-defined]
            labels = {c.id: c.name for c in data.classes}
            self.logger.experiment.log({EXAMPLES: overlays(self.examples, labels)})
            self.examples = []
