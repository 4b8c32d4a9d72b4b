"""A network as an ONNX model: any batch, any image size, raw pixels in, logits out."""

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from segbench.errors import InputError
from segbench.models import SegmentationNetwork

NEEDED = ("onnx", "onnxscript", "onnxruntime")


def need_onnx(what: str) -> None:
    """Refuse where the packages of the extra ``export`` are not installed."""
    if missing := [name for name in NEEDED if not importlib.util.find_spec(name)]:
        raise InputError(f"{what} needs {' and '.join(missing)}: pip install 'segbench[export]'")


def to_onnx(network: SegmentationNetwork, metadata: Mapping[str, Any] | None = None) -> bytes:
    """The ONNX model of a network, its normalisation and padding inside.

    Its input ``images`` is uint8 [N, 3, H, W] (RGB), its output ``logits`` float32 [N, K, H, W];
    N, H and W are free.

    Args:
        network: in eval mode, on the CPU.
        metadata: kept with the model, each value as JSON.

    Raises:
        InputError: the network cannot be traced with free sizes.
    """
    side = torch.export.Dim
    # sides that no power of two divides, lest the exporter takes one for a rule
    example = torch.zeros((2, 3, 3 * network.stride + 5, 4 * network.stride + 7), dtype=torch.uint8)
    try:
        with _silent():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: side("n"), 2: side("h"), 3: side("w")},),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = " ".join(str(error.__cause__ or error).split())[:200]
        raise InputError(
            f"this network cannot be exported with free image sizes ({cause})"
        ) from None
    assert program is not None
    model = program.model_proto
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value, ensure_ascii=False)
    return bytes(model.SerializeToString())


@contextlib.contextmanager
def _silent() -> Any:
    """The exporter talks on every channel there is."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def onnx_runs_on(device: torch.device) -> bool:
    """Whether ONNX Runtime's build computes there: its common one knows no GPU."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    return device.type != "cuda" or "CUDAExecutionProvider" in there


def onnx_session(model: bytes) -> Any:
    """A model in ONNX Runtime, with as many threads as torch, on the GPU if its build has one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what goes wrong is raised as well
    return onnxruntime.InferenceSession(model, options, onnxruntime.get_available_providers())
