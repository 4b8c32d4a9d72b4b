"""A whole training epoch with its data: segbench beside the ways it is usually written.

    python benchmarks/epoch.py --networks deeplab_mobilenetv3 deeplab_resnet18 --rounds 2

Every way trains the same network on the same images with the same batches per epoch, random crops
and colour jitter of albumentations, cross-entropy and AdamW:

    segbench   ``segbench fit``: one confusion matrix, metrics.csv, two checkpoints (which count)
    lightning  the report's way: PIL, normalised floats, two workers, three torchmetrics per step,
               otherwise Lightning's defaults
    bare       a loop without metrics, logs or checkpoints, everything that helps turned on by hand
    torchgeo   its SemanticSegmentationTask, data as for lightning (where torchgeo is installed)
    smp        the plain loop of smp's examples, data as for lightning

Each epoch is a process of its own (memory settings are a process's); processes take turns, in an
order that turns round, and ratios are taken round by round. Seconds are of the epoch, workers'
start included, validation not.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

BATCH, CROP, CLASSES = 8, 256, 8
SIDE = 866  # as many pixels as 1000x750

Keys = dict[str, Any]


def main() -> None:
    options = _options()
    if options.child:
        network, way, root = options.child
        print(json.dumps({"seconds": WAYS[way](network, Path(root), options.images)}))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = options.data or _scenes(Path(folder) / "scenes", options.images)
        for network in options.networks:
            seconds: dict[str, list[float]] = {way: [] for way in options.ways}
            for number in range(options.rounds):
                order = options.ways if number % 2 == 0 else options.ways[::-1]
                for way in order:
                    seconds[way].append(_child(network, way, root, options.images))
            _say(network, seconds, options.images)


def _say(network: str, seconds: dict[str, list[float]], images: int) -> None:
    own = np.array(seconds["segbench"])
    for way, found in seconds.items():
        ratios = np.array(found) / own
        print(
            f"{network:22s} {way:10s} {images / np.median(found):6.2f} crops/s, segbench is "
            f"{np.median(ratios):.2f} x as fast ({', '.join(f'{r:.2f}' for r in ratios)})",
            flush=True,
        )


def _child(network: str, way: str, root: Path, images: int) -> float:
    child = [network, way, str(root)]
    done = subprocess.run(
        [sys.executable, __file__, "--images", str(images), "--child", *child],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{network} {way}: {done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def _scenes(root: Path, images: int) -> Path:
    from segbench.data.synthetic import generate

    generate(root, train=images, val=1, test=1, size=SIDE, seed=0)
    return root


def model_keys(network: str) -> Keys:
    """The ``model`` keys of a configuration, or those of smp's UNet."""
    import yaml

    if network == "smp_unet_resnet18":
        return {"architecture": "unet", "backbone": "resnet18", "lr": 1e-3, "weight_decay": 0.01}
    path = Path(__file__).parent.parent / "configs" / f"{network}.yaml"
    return dict(yaml.safe_load(path.read_text())["model"])


def _network(network: str) -> Any:
    """The network without the normalisation and padding that segbench puts around it."""
    import segmentation_models_pytorch as smp

    from segbench.inference.load import NETWORK
    from segbench.models import build_model

    if network == "smp_unet_resnet18":
        return smp.Unet("resnet18", encoder_weights=None, classes=CLASSES)
    keys = {key: value for key, value in model_keys(network).items() if key in NETWORK}
    return build_model(**keys, num_classes=CLASSES).network


def segbench(network: str, root: Path, images: int) -> float:
    """One epoch by ``segbench fit``: what run.json says it took."""
    from segbench import cli
    from segbench.models import network as networks

    if network == "smp_unet_resnet18":
        networks.ARCHITECTURES["unet"] = partial(networks.SmpNetwork, "Unet")  # type: ignore[index]
    keys: Keys = {f"model.{key}": value for key, value in model_keys(network).items()}
    keys |= {"model.loss": "cross_entropy"}
    keys |= {"data.root": str(root), "data.augmentation": "color", "data.crop_size": CROP}
    keys |= {"data.batch_size": BATCH, "data.samples_per_epoch": images}
    keys |= {"data.train_clean_images": 1, "trainer.max_epochs": 1, "test": False}
    with tempfile.TemporaryDirectory() as folder:
        keys["run_dir"] = f"{folder}/run"
        sys.argv = [
            "segbench",
            "fit",
            *(f"--{k}={json.dumps(v).strip(chr(34))}" for k, v in keys.items()),
        ]
        cli.main()
        record = json.loads((Path(folder) / "run" / "run.json").read_text())
    return float(record["seconds"]["fit"])


class PilCrops:
    """Images as they are usually read: PIL decodes all, a crop is cut, jittered, normalised."""

    def __init__(self, root: Path, images: int) -> None:
        import albumentations as A
        from albumentations.pytorch import ToTensorV2

        self.files = sorted((root / "train" / "image").iterdir())[:images]
        jitter = A.ColorJitter((0.8, 1.2), (0.8, 1.2), (0.8, 1.2), (-0.05, 0.05), p=0.8)
        self.transform = A.Compose([A.RandomCrop(CROP, CROP), jitter, A.Normalize(), ToTensorV2()])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Keys:
        from PIL import Image

        path = self.files[index]
        mask = path.parent.parent / "mask" / f"{path.stem}.png"
        image = np.asarray(Image.open(path).convert("RGB"))
        sample = self.transform(image=image, mask=np.asarray(Image.open(mask)))
        return {"image": sample["image"], "mask": sample["mask"].long()}


def _pil_loader(root: Path, images: int) -> Any:
    from torch.utils.data import DataLoader

    crops: Any = PilCrops(root, images)
    return DataLoader(crops, BATCH, shuffle=True, num_workers=2, drop_last=True)


def _lightning_epoch(pl: Any, task: Any, loader: Any) -> float:
    """One epoch by the trainer of ``pl``: Lightning under either of its two names."""

    class Clock(pl.Callback):  # type: ignore[misc]
        seconds = 0.0

        def on_train_epoch_start(self, *_: Any) -> None:
            self.seconds = -time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            self.seconds += time.perf_counter()

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        pl.Trainer(max_epochs=1, default_root_dir=folder, callbacks=[clock]).fit(task, loader)
    return clock.seconds


def lightning(network: str, root: Path, images: int) -> float:
    """One epoch as a first script with Lightning has it."""
    import pytorch_lightning as pl
    import torch
    from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

    class Task(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = _network(network)
            self.loss = torch.nn.CrossEntropyLoss(ignore_index=255)
            kwargs: Keys = {"num_classes": CLASSES, "ignore_index": 255}
            self.iou = MulticlassJaccardIndex(**kwargs)
            self.class_acc = MulticlassAccuracy(**kwargs, average="macro")
            self.acc = MulticlassAccuracy(**kwargs, average="micro")

        def training_step(self, batch: Keys, index: int) -> Any:
            logits = self.network(batch["image"])
            loss = self.loss(logits, batch["mask"])
            predicted = logits.argmax(1)
            for name in ("iou", "class_acc", "acc"):
                metric = getattr(self, name)
                metric(predicted, batch["mask"])
                self.log(f"train/{name}", metric, on_step=True, on_epoch=True)
            self.log("train/loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    return _lightning_epoch(pl, Task(), _pil_loader(root, images))


def bare(network: str, root: Path, images: int) -> float:
    """One epoch without anything but the steps, tuned by hand; segbench's loader."""
    import torch

    from segbench.data.datamodule import SegmentationData
    from segbench.data.decoded import decoded
    from segbench.models.network import SegmentationNetwork
    from segbench.task import gains_by_channels_last
    from segbench.training.memory import keep_freed_memory

    keep_freed_memory()
    keys: Keys = {"augmentation": "color", "crop_size": CROP, "batch_size": BATCH}
    data = SegmentationData(str(root), samples_per_epoch=images, **keys)
    data.read = decoded(data.data_set, 8, write=True)
    model = SegmentationNetwork(_network(network), 32).train()
    if model_keys(network).get("channels_last", gains_by_channels_last(torch.device("cpu"))):
        model.to(memory_format=torch.channels_last)
    loss_of = torch.nn.CrossEntropyLoss(ignore_index=255)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    start = time.perf_counter()
    for batch in data.train_dataloader():
        optimizer.zero_grad()
        loss_of(model(batch["image"]), batch["mask"]).backward()
        optimizer.step()
    return time.perf_counter() - start


def torchgeo(network: str, root: Path, images: int) -> float:
    """One epoch of torchgeo's task."""
    import lightning.pytorch as pl
    import torch
    from torchgeo.trainers import SemanticSegmentationTask

    class Task(SemanticSegmentationTask):  # type: ignore[misc]
        def configure_models(self) -> None:
            self.model = _network(network)

        def configure_optimizers(self) -> Any:  # its own schedule waits for a validation loss
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    task = Task(
        model="unet", backbone="resnet18", in_channels=3, num_classes=CLASSES, task="multiclass",
        loss="ce", ignore_index=255,
    )  # fmt: skip
    return _lightning_epoch(pl, task, _pil_loader(root, images))


def smp(network: str, root: Path, images: int) -> float:
    """One epoch of the plain loop, scored with smp.metrics at each step."""
    import segmentation_models_pytorch
    import torch

    metrics = segmentation_models_pytorch.metrics
    model = _network(network).train()
    loss_of = torch.nn.CrossEntropyLoss(ignore_index=255)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    start = time.perf_counter()
    for batch in _pil_loader(root, images):
        logits = model(batch["image"])
        loss = loss_of(logits, batch["mask"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        kwargs: Keys = {"mode": "multiclass", "num_classes": CLASSES, "ignore_index": 255}
        stats = metrics.get_stats(logits.argmax(1), batch["mask"], **kwargs)
        metrics.iou_score(*stats, reduction="micro")
    return time.perf_counter() - start


WAYS = {way.__name__: way for way in (segbench, lightning, bare, torchgeo, smp)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", nargs="+", default=["deeplab_mobilenetv3"])
    parser.add_argument("--ways", nargs="+", default=["segbench", "lightning"], choices=WAYS)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--data", type=Path, help="a data set (synthetic scenes are painted)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    os.environ.setdefault("WANDB_MODE", "offline")
    main()
