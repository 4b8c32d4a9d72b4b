"""What a person sees while a run trains."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from segbench.arguments import progress_console


class EpochProgress(Callback):
    """One live line: steps of the whole fit, crops/s, time left, the latest val/mean_iou.

    Where nobody watches (a pipe, a log file) it prints one line per epoch instead.
    """

    def __init__(self) -> None:
        self.console = progress_console()
        self.progress: Progress | None = None
        self.best = float("-inf")
        self.rate = ""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero or not self.console.is_terminal:
            return
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[score]}"),
            console=self.console,
        )
        self.task = self.progress.add_task(
            "fit",
            total=int(trainer.estimated_stepping_batches),
            completed=trainer.global_step,
            epoch="",
            rate="",
            score="",
        )
        self.progress.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch_start, self.crops = time.perf_counter(), 0
        self._update(epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.crops += len(batch["image"]) * trainer.world_size
        self.rate = f"{self.crops / (time.perf_counter() - self.epoch_start):.1f} crops/s"
        self._update(completed=trainer.global_step, rate=self.rate)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        val = float(trainer.callback_metrics.get("val/mean_iou", float("nan")))
        self.best = max(self.best, val)
        score = f"val/mean_iou {val:.3f} (best {self.best:.3f})"
        self._update(score=score)
        if self.progress is None and trainer.is_global_zero:
            self.console.print(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} · {self.rate} · {score}",
                highlight=False,
                soft_wrap=True,
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._stop()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def _update(self, **fields: Any) -> None:
        if self.progress is not None:
            self.progress.update(self.task, **fields)

    def _stop(self) -> None:
        if self.progress is not None:
            self.progress.stop()
