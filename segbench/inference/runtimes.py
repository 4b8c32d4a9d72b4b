"""The ways to run a network that a benchmark puts side by side."""

import copy
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from segbench.inference.onnx import NEEDED, onnx_runs_on, onnx_session, to_onnx
from segbench.models import SegmentationNetwork
from segbench.models.folding import folded

Runtime = Literal["eager", "channels_last", "folded", "compile", "onnxruntime"]


@dataclass(frozen=True)
class Prepared:
    """A network ready to be called on images uint8 [N, 3, H, W] that lie on its device.

    ``file_mb`` is the size of the file that the runtime reads, if it reads one.
    """

    predict: Callable[[Tensor], object]
    file_mb: float | None = None


def _eager(network: SegmentationNetwork) -> Prepared:
    return Prepared(copy.deepcopy(network).to(memory_format=torch.contiguous_format))


def _channels_last(network: SegmentationNetwork) -> Prepared:
    return Prepared(copy.deepcopy(network).to(memory_format=torch.channels_last))


def _folded(network: SegmentationNetwork) -> Prepared:
    return Prepared(folded(network))


def _compiled(network: SegmentationNetwork) -> Prepared:
    return Prepared(torch.compile(_channels_last(network).predict))


def _onnxruntime(network: SegmentationNetwork) -> Prepared:
    model = to_onnx(copy.deepcopy(network).cpu())
    session = onnx_session(model)
    return Prepared(lambda x: session.run(None, {"images": x.cpu().numpy()}), len(model) / 1e6)


RUNTIMES: dict[Runtime, Callable[[SegmentationNetwork], Prepared]] = {
    "eager": _eager,
    "channels_last": _channels_last,
    "folded": _folded,
    "compile": _compiled,
    "onnxruntime": _onnxruntime,
}
"""Name -> what makes a network ready to be called."""


def usable(device: torch.device) -> list[Runtime]:
    """Those that can be tried there; compile only when asked for: on a CPU it costs a minute."""
    found: list[Runtime] = ["eager", "channels_last", "folded"]
    if all(importlib.util.find_spec(name) for name in NEEDED) and onnx_runs_on(device):
        found.append("onnxruntime")
    return found
