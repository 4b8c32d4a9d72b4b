"""``segbench export RUN``: a trained network as a file that needs no PyTorch."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from segbench import __version__, metrics
from segbench.arguments import Arguments
from segbench.data.dataset import Pair, read_image, read_mask
from segbench.errors import InputError
from segbench.files import as_json, write_atomic
from segbench.inference.at_hand import data_set_of
from segbench.inference.load import load_network
from segbench.inference.onnx import need_onnx, onnx_session, to_onnx
from segbench.models import SegmentationNetwork
from segbench.parallel import watched
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
    data = data_set_of(run, options.data)
    if isinstance(data, str):
        raise InputError(f"an export is checked on the test images: {data}")
    pairs = data.test
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
        _refuse(f"the model is not the network: {said}")
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out / "classes.json", as_json(metadata["classes"]))
    write_atomic(options.out / "example.py", EXAMPLE.read_text("utf-8"))
    write_atomic(options.out / "model.onnx", model)
    print(f"{options.out / 'model.onnx'}: {len(model) / 1e6:.1f} MB; {said}")


def _refuse(reason: str) -> NoReturn:
    print(f"segbench: not exported: {reason}", file=sys.stderr)
    sys.exit(1)


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
        _refuse(f"the model fails at {height}x{width}: {' '.join(str(error).split())[:160]}")
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())


def _test_scores(
    network: SegmentationNetwork, session: Any, pairs: tuple[Pair, ...], classes: int
) -> tuple[float, float]:
    """Mean IoU of the network and of the model, on whole test images."""
    counts = np.zeros((2, classes, classes), dtype=np.int64)
    for pair in watched(pairs, len(pairs), "test images"):
        image = np.ascontiguousarray(read_image(pair.image).transpose(2, 0, 1))[None]
        truth = read_mask(pair.mask)
        logits = (network(torch.from_numpy(image)).numpy(), session.run(None, {"images": image})[0])
        for number, one in enumerate(logits):
            counts[number] += metrics.confusion(truth, one[0].argmax(0), classes)
    ours, theirs = metrics.mean_iou(counts)
    return float(ours), float(theirs)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("segbench export", main.__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the model")
    parser.add_argument("--data", type=Path, help="the data set, where it moved since the run")
    return parser.parse_args(argv)
