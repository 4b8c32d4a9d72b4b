"""The parts of an epoch, each beside the way it is usually written; ratios within one run.

    python benchmarks/parts.py                      # all of them
    python benchmarks/parts.py loader metrics

loader    ms of processor time per crop, decoded images at hand, normalisation counted, no workers;
          beside PIL with the same augmentation
metrics   argmax and update per batch; beside argmax(1), JaccardIndex and two Accuracies
step      a UNet's step as segbench makes it: share of what a matrix product reaches here
predict   one 750x1000 image: folded batch norm and channels_last beside PyTorch as it is
memory    most memory that scoring whole images takes, 8 and 32 of them; beside keeping logits
start     seconds until the door answers
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

Call = Callable[[], Any]
SIZE = (750, 1000)


def turns(calls: Mapping[str, Call], rounds: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Seconds of each call by round [rounds], taken in turn after one call to warm up."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
    return {name: np.array(of) for name, of in seconds.items()}


def say(what: str, seconds: dict[str, Any], per: int, usual: str, ours: str) -> None:
    """Both ways in ms, and how many times faster ours is, round by round."""
    ratios = seconds[usual] / seconds[ours]
    parts = [f"{name} {1000 * np.median(of) / per:.2f} ms" for name, of in seconds.items()]
    spread = f"{ratios.min():.2f} to {ratios.max():.2f}"
    print(f"{what}: {', '.join(parts)}: {np.median(ratios):.2f} x ({spread})", flush=True)


def loader() -> None:
    from epoch import BATCH, CROP, SIDE, PilCrops
    from torch.utils.data import DataLoader

    from segbench.data.datamodule import SegmentationData
    from segbench.data.decoded import decoded
    from segbench.data.synthetic import generate

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "scenes"
        generate(root, train=40, val=1, test=1, size=SIDE, seed=0)
        data = SegmentationData(
            str(root), augmentation="color", crop_size=CROP, batch_size=BATCH, samples_per_epoch=40
        )
        data.read = decoded(data.data_set, 8, write=True)
        pil: Any = PilCrops(root, 40)
        mean, std = torch.rand(3, 1, 1), torch.rand(3, 1, 1)

        def cached() -> None:
            for batch in data.train_dataloader():
                (batch["image"] - mean) / std

        def usual() -> None:
            list(DataLoader(pil, BATCH, shuffle=True, drop_last=True))

        seconds = turns({"PIL": usual, "segbench": cached}, 5, time.process_time)
        say("loader, processor time per crop", seconds, 40, "PIL", "segbench")


def metrics() -> None:
    from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

    from segbench.task import EpochScores

    torch.set_num_threads(1)
    keys: dict[str, Any] = {"num_classes": 8, "ignore_index": 255}
    three = [
        MulticlassJaccardIndex(**keys),
        MulticlassAccuracy(**keys, average="macro"),
        MulticlassAccuracy(**keys, average="micro"),
    ]
    scores, loss = EpochScores(8), torch.tensor(1.0)
    for shape in ((8, 256, 256), (1, *SIZE)):
        logits = torch.randn(shape[0], 8, *shape[1:])
        mask = torch.randint(0, 8, shape)

        def usual(logits: torch.Tensor = logits, mask: torch.Tensor = mask) -> None:
            predicted = logits.argmax(1)
            for metric in three:
                metric.update(predicted, mask)

        def ours(logits: torch.Tensor = logits, mask: torch.Tensor = mask) -> None:
            scores.update(loss, logits.max(1).indices, mask)

        seconds = turns({"three metrics": usual, "segbench": ours}, 9, time.process_time)
        say(f"metrics of a batch {shape}", seconds, 1, "three metrics", "segbench")


def step() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from segbench.losses import SegmentationLoss
    from segbench.models import build_model
    from segbench.task import EpochScores, gains_by_channels_last
    from segbench.training.memory import keep_freed_memory

    keep_freed_memory()
    network = build_model("unet", 8).train()
    if gains_by_channels_last(torch.device("cpu")):
        network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    loss_of, scores = SegmentationLoss("cross_entropy", 8), EpochScores(8)
    images = torch.randint(0, 256, (8, 3, 256, 256), dtype=torch.uint8)
    mask = torch.randint(0, 8, (8, 256, 256))
    matrix = torch.randn(2048, 2048)
    with FlopCounterMode(display=False) as counter:
        network(images)
    flops = 3 * counter.get_total_flops()  # backward is two such products

    def ours() -> None:
        optimizer.zero_grad()
        logits = network(images)
        loss = loss_of(logits, mask)
        scores.update(loss.detach(), logits.max(1).indices, mask)
        loss.backward()
        optimizer.step()

    def product() -> None:
        for _ in range(20):
            matrix @ matrix

    seconds = turns({"product": product, "step": ours}, 5, time.perf_counter)
    peak = 20 * 2 * 2048**3 / seconds["product"].min() / 1e9
    reached = flops / np.median(seconds["step"]) / 1e9
    print(
        f"UNet step: {np.median(seconds['step']) / 8 * 1000:.0f} ms per crop, {reached:.0f} of "
        f"{peak:.0f} GF/s: {reached / peak:.0%} of the best matrix product "
        f"({torch.get_num_threads()} threads)",
        flush=True,
    )


def predict() -> None:
    from epoch import CLASSES, model_keys

    from segbench.inference.load import NETWORK
    from segbench.models import build_model
    from segbench.models.folding import folded

    image = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)
    for name in ("unet", "deeplab_vgg11", "deeplab_resnet18", "deeplab_mobilenetv3"):
        keys = {key: value for key, value in model_keys(name).items() if key in NETWORK}
        network = build_model(**keys, num_classes=CLASSES).eval()
        ready = folded(network)
        with torch.inference_mode():
            calls = {"eager": lambda n=network: n(image), "folded": lambda n=ready: n(image)}
            seconds = turns(calls, 5, time.perf_counter)
        say(f"predict, {name}", seconds, 1, "eager", "folded")


def memory() -> None:
    for what in ("segbench", "logits kept"):
        peaks = [_peak(what, images) for images in (8, 32)]
        print(f"memory, {what}: {peaks[0]:.0f} MB with 8 images, {peaks[1]:.0f} MB with 32")


def _peak(what: str, images: int) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--child", what, str(images)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(json.loads(done.stdout))


def _score(what: str, images: int) -> None:
    """Score some whole images and print the most memory that this process ever had, in MB."""
    from segbench.models import build_model
    from segbench.task import EpochScores

    network = build_model("deeplab", 8, backbone="mobilenet_v3_small").eval()
    scores, kept = EpochScores(8), []
    mask = torch.randint(0, 8, (1, *SIZE))
    with torch.inference_mode():
        for number in range(images):
            logits = network(torch.full((1, 3, *SIZE), number, dtype=torch.uint8))
            if what == "segbench":
                scores.update(torch.tensor(1.0), logits.max(1).indices, mask)
            else:
                kept.append(logits)
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000))


def start() -> None:
    door = str(Path(sys.executable).with_name("segbench"))
    for verb in ([], ["compare"], ["report"], ["fit"]):
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([door, *verb, "--help"], capture_output=True, check=True)
            seconds.append(time.perf_counter() - began)
        print(f"start, segbench {' '.join([*verb, '--help'])}: {np.median(seconds):.2f} s")


PARTS = {part.__name__: part for part in (loader, metrics, step, predict, memory, start)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", default=[], help=", ".join(PARTS))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _score(options.child[0], int(options.child[1]))
        return
    for name in options.parts or PARTS:
        if name not in PARTS:
            parser.error(f"{name} is none of {', '.join(PARTS)}")
        PARTS[name]()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
