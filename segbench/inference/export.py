"""``segbench export RUN``: a trained network as a file that needs no PyTorch."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from segbench import __version__, metrics
from segbench.arguments import Arguments
from segbench.data.classes import IGNORE
from segbench.data.dataset import Pair, read_data_set, read_image, read_mask
from segbench.errors import InputError
from segbench.files import write_atomic
from segbench.inference.load import load_network
from segbench.inference.onnx import need_onnx, onnx_session, to_onnx
from segbench.models import SegmentationNetwork
from segbench.runs import RunFolder

SIZES = ((1, 97, 130), (2, 64, 64), (1, 200, 75))
"""Batches, heights and widths on which the logits must agree; not those of the tracing."""

EXAMPLE = Path(__file__).with_name("onnx_example.py")

LOGITS = 1e-3  # largest difference, as a share of the largest logit
MEAN_IOU = 1e-4  # largest difference of the test scores


def main(argv: list[str]) -> None:
    """Write a run's best checkpoint as model.onnx, with an example that runs it.

    The model takes RGB images of any size as they are (uint8) and gives logits; normalisation and
    padding are inside, the classes' names and colours in its metadata. It is written only if its
    logits on three sizes and its mean IoU on the test images are the checkpoint's.
    """
    options = _options(argv)
    need_onnx("segbench export")
    if (options.out / "model.onnx").exists():
        raise InputError(f"{options.out}: holds a model already; give another --out")
    run = RunFolder(options.run)
    loaded = load_network(run, torch.device("cpu"))
    pairs = _test_images(run, options.data)
    metadata = {
        "classes": [asdict(c) for c in loaded.classes],
        "input": "images: uint8 [N, 3, H, W], RGB, 0..255",
        "output": "logits: float32 [N, K, H, W]",
        "segbench": __version__,
        "fingerprints": run.read_record()["fingerprints"],
    }
    model = to_onnx(loaded.network, metadata)
    session = onnx_session(model)
    with torch.inference_mode():
        apart = max(_difference(loaded.network, session, size) for size in SIZES)
        ours, theirs = _test_scores(loaded.network, session, pairs, len(loaded.classes))
    said = (
        f"logits differ by {apart:.1e} of the largest at most; test mean IoU {theirs:.4f}, the "
        f"checkpoint's {ours:.4f} ({len(pairs)} images)"
    )
    if apart > LOGITS or abs(ours - theirs) > MEAN_IOU:
        print(f"segbench: not exported: the model is not the network: {said}", file=sys.stderr)
        sys.exit(1)
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out / "classes.json", json.dumps(metadata["classes"], indent=1) + "\n")
    write_atomic(options.out / "example.py", EXAMPLE.read_text("utf-8"))
    write_atomic(options.out / "model.onnx", model)
    print(f"{options.out / 'model.onnx'}: {len(model) / 1e6:.1f} MB; {said}")


def _difference(network: SegmentationNetwork, session: Any, size: tuple[int, int, int]) -> float:
    """Largest difference of the logits of noise, as a share of the largest logit."""
    batch, height, width = size
    shape = (batch, 3, height, width)
    images = torch.randint(
        256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    ours = network(images).numpy()
    try:
        (theirs,) = session.run(None, {"images": images.numpy()})
    except Exception as error:  # ONNX Runtime's own kinds, which are no part of its interface
        reason = " ".join(str(error).split())[:160]
        print(
            f"segbench: not exported: the model fails at {height}x{width}: {reason}",
            file=sys.stderr,
        )
        sys.exit(1)
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())


def _test_scores(
    network: SegmentationNetwork, session: Any, pairs: tuple[Pair, ...], classes: int
) -> tuple[float, float]:
    """Mean IoU of the network and of the model, on whole test images."""
    counts = np.zeros((2, classes, classes), dtype=np.int64)
    for pair in track(pairs, "test images", transient=True):
        image = np.ascontiguousarray(read_image(pair.image).transpose(2, 0, 1))[None]
        truth = read_mask(pair.mask)
        logits = (network(torch.from_numpy(image)).numpy(), session.run(None, {"images": image})[0])
        for number, one in enumerate(logits):
            codes = truth.astype(np.int64) * classes + one[0].argmax(0)
            found = np.bincount(codes[truth != IGNORE], minlength=classes**2)
            counts[number] += found.reshape(classes, classes)
    ours, theirs = metrics.mean_iou(counts)
    return float(ours), float(theirs)


def _test_images(run: RunFolder, data: Path | None) -> tuple[Pair, ...]:
    config = run.read_config()["data"]
    root = data or Path(config["root"])
    if not root.is_dir():
        raise InputError(
            f"data.root: {root} is not here, and an export is checked on the test images; give "
            "the data set with --data"
        )
    found = read_data_set(root, config["folds"], config["fold"])
    if found.fingerprint != run.read_record()["fingerprints"]["data"]:
        raise InputError(f"{root}: is not the data set of {run.path}; give it with --data")
    return found.test


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("segbench export", main.__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the model")
    parser.add_argument("--data", type=Path, help="the data set, where it moved since the run")
    return parser.parse_args(argv)
