"""How a network is trained and scored."""

from collections.abc import Callable
from typing import Any, Literal, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    PolynomialLR,
)
from torchmetrics import SumMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from segbench import metrics
from segbench.data.classes import IGNORE
from segbench.data.datamodule import Sample, SegmentationData
from segbench.errors import InputError
from segbench.losses import ClassWeights, LossName, SegmentationLoss, class_weights
from segbench.models import Architecture, Variant, build_model
from segbench.models.tiling import tiled_logits

Schedule = Literal["constant", "polynomial", "cosine", "one_cycle"]
SCHEDULES: dict[Schedule, Callable[[Optimizer, int], LRScheduler]] = {
    "constant": lambda optimizer, steps: ConstantLR(optimizer, factor=1.0),
    "polynomial": lambda optimizer, steps: PolynomialLR(optimizer, total_iters=steps, power=0.9),
    "cosine": lambda optimizer, steps: CosineAnnealingLR(optimizer, T_max=steps),
    "one_cycle": lambda optimizer, steps: OneCycleLR(
        optimizer, max_lr=optimizer.defaults["lr"], total_steps=steps
    ),
}
"""Name -> learning rate over the optimiser steps of the whole fit."""

VAL_SPLITS = ("val", "train_clean")
"""What the validation dataloaders hold, in their order."""


class DivergedError(Exception):
    """The loss is no number any more; the message says where, and what to try."""


class EpochScores(nn.Module):
    """What one split's scores of one epoch are made of, summed over all processes."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        # Ignored pixels count as one class more: picking the others out of a batch takes longer
        # than all the rest. Masks are checked before the fit, so the metric need not at each step.
        self.ignored = num_classes
        self.confusion = MulticlassConfusionMatrix(num_classes + 1, validate_args=False)
        # not MeanMetric: it forgets its weights where NaN is let through (torchmetrics 1.9)
        self.loss_sum = SumMetric(nan_strategy="disable")

    def update(self, loss: Tensor, prediction: Tensor, mask: Tensor) -> None:
        """Add a batch: its mean loss and its class ids [N, H, W], predicted and true."""
        self.confusion.update(prediction, mask.clamp(max=self.ignored))
        self.loss_sum.update(loss * (mask != IGNORE).sum())

    def compute_and_reset(self) -> tuple[float, NDArray[np.int64]]:
        """Mean loss per labelled pixel and confusion counts [K, K]."""
        counts = self.confusion.compute().cpu().numpy()[: self.ignored, : self.ignored]
        loss = float(self.loss_sum.compute()) / max(1, int(counts.sum()))
        self.loss_sum.reset()
        self.confusion.reset()
        return loss, counts


class SegmentationTask(pl.LightningModule):
    """Trains one network on pixel masks and scores it.

    Logged per epoch for ``train`` (augmented crops), ``train_clean`` (a fixed part of the
    training images, whole and unaugmented), ``val`` and ``test``: ``loss``, ``mean_iou``,
    ``mean_class_acc``, ``mean_acc``, for the last two also ``iou/<class>``. All of a split's
    scores come from one confusion matrix summed over the epoch and over all processes.

    Args:
        architecture: unet, deeplab, or another entry of the table.
        backbone: ``plain`` (the classic UNet encoder), resnet18, vgg11_bn, mobilenet_v3_small, or
            any encoder of segmentation_models_pytorch; null: the architecture's own.
        variant: separable convolutions, inverted bottlenecks or residual connections in place
            of the network's own units.
        width: channels of the plain UNet's finest level, or of DeepLab's head.
        aspp: DeepLab's context module; off is a 1x1 projection to the same width.
        aspp_rates: its dilations, in pixels of the coarse map.
        output_stride: image pixels per pixel of DeepLab's coarse map, 8, 16 or 32.
        pretrained: start the encoder from ImageNet weights.
        loss: terms to minimise.
        class_weights: how classes are weighted in the loss, from the training masks.
        lr: AdamW's peak learning rate.
        weight_decay: AdamW's.
        schedule: the learning rate over the steps.
        channels_last: keep tensors in that memory format; null: on CUDA, and on a CPU where
            it was measured to be faster.
        compile: torch.compile; costs a minute at the start.
        num_classes: linked to the data set's classes.json.
    """

    def __init__(
        self,
        architecture: Architecture = "unet",
        backbone: str | None = None,
        variant: Variant = "standard",
        width: int | None = None,
        aspp: bool | None = None,
        aspp_rates: list[int] | None = None,
        output_stride: Literal[8, 16, 32] | None = None,
        pretrained: bool = False,
        loss: LossName = "cross_entropy",
        class_weights: ClassWeights = "none",
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        schedule: Schedule = "one_cycle",
        channels_last: bool | None = None,
        compile: bool = False,
        num_classes: int = 2,
    ) -> None:
        super().__init__()
        for key, number in (("lr", lr), ("weight_decay", weight_decay)):
            if not number >= 0:
                raise InputError(f"model.{key}: {number}; give 0 or more")
        self.save_hyperparameters()
        self.network = build_model(
            architecture,
            num_classes,
            variant=variant,
            backbone=backbone,
            width=width,
            aspp=aspp,
            aspp_rates=aspp_rates,
            output_stride=output_stride,
            pretrained=pretrained or None,
        )
        if compile:
            self.network.compile()
        self.channels_last = channels_last
        self.loss = SegmentationLoss(loss, num_classes)
        self.class_weights: ClassWeights = class_weights
        self.lr, self.weight_decay = lr, weight_decay
        self.make_schedule = SCHEDULES[schedule]
        self.num_classes = num_classes
        self.eval_tile: int | None = None
        splits = ("train", *VAL_SPLITS, "test")
        self.scores = nn.ModuleDict({f"{s}_scores": EpochScores(num_classes) for s in splits})

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, SegmentationData)
        if data.num_classes != self.num_classes:
            raise InputError(
                f"the network was built for {self.num_classes} classes, {data.data_set.root} has "
                f"{data.num_classes}; use the data set it was trained on"
            )
        gains = gains_by_channels_last(self.trainer.strategy.root_device)
        if self.channels_last or (self.channels_last is None and gains):
            self.network.to(memory_format=torch.channels_last)
        self.class_names = [c.name for c in data.classes]
        self.eval_tile = data.eval_tile
        if stage == "fit" and self.class_weights != "none":
            self.loss.weights.copy_(class_weights(self.class_weights, data.class_pixels()))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, K, H, W] of RGB images [N, 3, H, W] with values 0..255.

        In evaluation the images are cut into tiles, where the data module asks for them.
        """
        if self.eval_tile is not None and not self.training:
            return tiled_logits(self.network, images, self.eval_tile, overlap=self.eval_tile // 4)
        logits: Tensor = self.network(images)
        return logits

    def _step(self, batch: Sample, split: str) -> tuple[Tensor, Tensor, Tensor]:
        logits = self(batch["image"])
        loss = self.loss(logits, batch["mask"])
        prediction = logits.max(1).indices  # several times faster than argmax, same ties
        self._scores(split).update(loss.detach(), prediction, batch["mask"])
        return loss, logits, prediction

    def _log_epoch(self, split: str, per_class: bool = False) -> None:
        loss, counts = self._scores(split).compute_and_reset()
        scores = {"loss": loss, **metrics.summary(counts)}
        if per_class:
            iou = metrics.class_iou(counts)
            scores |= {f"iou/{name}": float(iou[k]) for k, name in enumerate(self.class_names)}
        # the same on every process already; Lightning wants to hear that it may average
        self.log_dict({f"{split}/{name}": v for name, v in scores.items()}, sync_dist=True)

    def _scores(self, split: str) -> "EpochScores":
        return cast(EpochScores, self.scores[f"{split}_scores"])

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        loss = self._step(batch, "train")[0]
        # all processes stop, or none: one alone would leave the others waiting
        if not self.trainer.strategy.reduce_boolean_decision(bool(loss.isfinite()), all=True):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            raise DivergedError(
                f"the loss is {loss.item()} at step {self.global_step} (learning rate {rate:.2g}); "
                "lower model.lr, or set trainer.gradient_clip_val"
            )
        return loss

    def validation_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Class ids of the predictions [N, H, W]."""
        return self._step(batch, VAL_SPLITS[dataloader_idx])[2]

    def test_step(self, batch: Sample, batch_idx: int) -> dict[str, Any]:
        """One image: its name, predicted class ids, confidence (0..1) and confusion counts."""
        _, logits, prediction = self._step(batch, "test")
        mask = batch["mask"]
        labelled = mask != IGNORE
        pairs = mask[labelled] * self.num_classes + prediction[labelled]
        counts = torch.bincount(pairs, minlength=self.num_classes**2)
        return _described(batch, logits, prediction) | {
            "counts": counts.view(self.num_classes, self.num_classes)
        }

    def predict_step(self, batch: Sample, batch_idx: int) -> dict[str, Any]:
        """One image: its name, predicted class ids [H, W] and confidence (0..1)."""
        logits = self(batch["image"])
        return _described(batch, logits, logits.max(1).indices)

    def on_train_epoch_end(self) -> None:
        self._log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val", per_class=True)
        self._log_epoch("train_clean")

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test", per_class=True)

    def _scales_gradients(self) -> bool:
        """Whether precision is 16-mixed: a fused step would unscale unseen by gradient clipping."""
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            self.parameters(),
            lr=self.lr,
            weight_decay=self.weight_decay,
            fused=not self._scales_gradients(),
        )
        scheduler = self.make_schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def gains_by_channels_last(device: torch.device) -> bool:
    """Whether steps of convolutions on large maps are taken to be faster in that memory format.

    With AVX-512 a UNet's were, 1.3 times; with AVX2 alone they took 1.3 times as long, as the
    gradient of such weights is slow there (oneDNN of torch 2.14; docs/SPEED.md). CUDA is said to
    gain, with 16 bits above all; segbench has not measured it.
    """
    if device.type == "cpu":
        return torch.backends.cpu.get_cpu_capability() == "AVX512"
    return device.type == "cuda"


def _described(batch: Sample, logits: Tensor, prediction: Tensor) -> dict[str, Any]:
    return {
        "name": batch["name"][0],
        "prediction": prediction[0],
        "confidence": logits[0].float().softmax(0).max(0).values,
    }
