"""Keeps the run folder while a run trains and is tested."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback, Checkpoint

from segbench import metrics
from segbench.data.datamodule import SegmentationData
from segbench.files import write_atomic
from segbench.models import SegmentationNetwork, size_of
from segbench.runs import RunFolder, TestCounts, fingerprint_of_config, free_path
from segbench.task import DivergedError
from segbench.training import provenance
from segbench.training.pictures import make_prediction_folders, store_test_set, write_prediction
from segbench.wording import printable


class FitRecorder(Checkpoint):
    """Writes config.yaml, metrics.csv, and what run.json says of the fit.

    A Checkpoint only in name: Lightning calls those last, when the task has logged its epoch,
    and in their order. Standing before ModelCheckpoint, this one has the epoch's row in hand
    when last.ckpt is written, and its rows travel in the checkpoint: metrics.csv after a resume
    is that of the undisturbed run.

    Args:
        run: where to write.
        config: the resolved configuration.
        config_text: the same as it stands in config.yaml.
        arm: the keys that distinguish this run, dotted.
    """

    def __init__(
        self,
        run: RunFolder,
        config: Mapping[str, Any],
        config_text: str,
        arm: Mapping[str, Any],
    ) -> None:
        self.run, self.config, self.config_text = run, config, config_text
        self.record: dict[str, Any] = {"status": "running", "arm": dict(arm)}
        self.rows: list[dict[str, float]] = []
        self.images = 0
        self.seconds = {"fit": 0.0, "val": 0.0}
        self.stopped_by: BaseException | None = None
        self._started = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit" or not trainer.is_global_zero:
            return
        data: SegmentationData = trainer.datamodule  # type: ignore[attr-defined]
        network = pl_module.network
        assert isinstance(network, SegmentationNetwork)
        data_fingerprint = data.data_set.fingerprint
        store_test_set(self.run.study_test, data.data_set.test, data_fingerprint)
        self.run.checkpoints.mkdir(parents=True, exist_ok=True)
        if self.run.record.exists():  # a run that goes on is still that of its first command
            self.record["arm"] = self.run.read_record()["arm"]
        write_atomic(self.run.config, self.config_text)
        self.record |= {
            "seed": self.config["seed_everything"],
            "classes": [asdict(c) for c in data.classes],
            "fold": self.config["data"]["fold"] if self.config["data"]["folds"] else None,
            "git_commit": provenance.git_commit(),
            "versions": provenance.versions(),
            "hardware": provenance.hardware(trainer),
            **size_of(network),
            "fingerprints": {
                "data": data_fingerprint,
                "config": fingerprint_of_config(self.config),
                "code": provenance.code_fingerprint(),
            },
        }
        self.run.write_record(self.record)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.images += len(batch["image"]) * trainer.world_size

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._lap("fit")  # validation runs inside a training epoch and is counted apart

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._lap("val")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._lap("fit")
        self.rows.append(
            {
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
                **{
                    name: float(value)
                    for name, value in sorted(trainer.callback_metrics.items())
                    if name.startswith(("train/", "train_clean/", "val/"))
                },
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
                "seconds": self.seconds["fit"] + self.seconds["val"],  # since the start
            }
        )
        if trainer.is_global_zero:
            self.run.write_metrics(self.rows)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self._sum_up(trainer)
            if not self.config["test"]:
                self.record["status"] = "finished"
            self.run.write_record(self.record)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self.stopped_by = exception
        if not trainer.is_global_zero or not self.run.record.exists():
            return
        diverged = isinstance(exception, DivergedError)
        self.record["status"] = "diverged" if diverged else "failed"
        self.record["error"] = printable(f"{type(exception).__name__}: {exception}")
        if self.rows:
            self._sum_up(trainer)
        with suppress(OSError):  # a full disk may be what brought us here
            self.run.write_record(self.record)

    def _sum_up(self, trainer: pl.Trainer) -> None:
        best = max(self.rows, key=lambda row: row["val/mean_iou"])
        self.record |= {
            "epochs": len(self.rows),
            "steps": trainer.global_step,
            "images_per_second": self.images / self.seconds["fit"],
            "seconds": dict(self.seconds),
            "best_epoch": int(best["epoch"]),
            "scores": {split: _scores(best, f"{split}/") for split in ("val", "train_clean")},
        }

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seconds": dict(self.seconds), "images": self.images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [dict(row) for row in state_dict["rows"]]
        self.seconds = dict(state_dict["seconds"])
        self.images = state_dict["images"]

    def _lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] += now - self._started
        self._started = now


class TestRecorder(Callback):
    """Writes test/, and what run.json says of the test: then the run is finished."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.tested: dict[str, NDArray[np.int64]] = {}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter()
        make_prediction_folders(self.run.test)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        write_prediction(self.run.test, outputs)
        self.tested[outputs["name"]] = outputs["counts"].cpu().numpy()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        seconds = time.perf_counter() - self._started
        tested = _gather(self.tested)
        if not trainer.is_global_zero:
            return
        data: SegmentationData = trainer.datamodule  # type: ignore[attr-defined]
        pairs = [pair for pair in data.data_set.test if pair.name in tested]
        counts = np.stack([tested[pair.name] for pair in pairs]).astype(np.uint64)
        self.run.write_counts(
            TestCounts(
                counts,
                [pair.name for pair in pairs],
                [pair.group for pair in pairs],
                [c.name for c in data.classes],
            )
        )
        record = self.run.read_record()
        if record["status"] != "diverged":
            record["status"] = "finished"
        record["seconds"]["test"] = seconds
        record["scores"]["test"] = {
            **_scores(trainer.callback_metrics, "test/"),
            "mean_iou_per_image_absent0": metrics.mean_iou_per_image(counts, 0),
            "mean_iou_per_image_absent1": metrics.mean_iou_per_image(counts, 1),
        }
        self.run.write_record(record)


class PredictionWriter(Callback):
    """Writes each prediction as it comes, all processes into one folder.

    Args:
        wanted: the folder, numbered where it is taken; ``folder`` is the one that was free.
    """

    def __init__(self, wanted: Path) -> None:
        self.wanted = wanted

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # the first process chooses: one that looked later would find its folder taken
        self.folder = trainer.strategy.broadcast(free_path(self.wanted))
        make_prediction_folders(self.folder)

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        write_prediction(self.folder, outputs)


def _gather(own: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    if not torch.distributed.is_initialized():
        return own
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, own)
    return {name: counts for part in parts for name, counts in part.items()}


def _scores(values: Mapping[str, Any], prefix: str) -> dict[str, float]:
    return {
        name.removeprefix(prefix): float(value)
        for name, value in values.items()
        if name.startswith(prefix)
    }
