"""The network of a run folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from segbench.data.classes import SegmentationClass, as_classes
from segbench.errors import InputError
from segbench.models import SegmentationNetwork, build_model
from segbench.models.weights import read_checkpoint
from segbench.runs import RunFolder

NETWORK = (
    *("architecture", "num_classes", "backbone", "variant", "width", "aspp", "aspp_rates"),
    "output_stride",
)
"""The ``model`` keys that say what is computed, and so what it costs."""


@dataclass(frozen=True)
class LoadedNetwork:
    """A run's network with its best weights, in eval mode, and what its channels stand for."""

    network: SegmentationNetwork
    classes: tuple[SegmentationClass, ...]


def load_network(run: RunFolder, device: torch.device) -> LoadedNetwork:
    """The best checkpoint of a run.

    Raises:
        InputError: no run, no checkpoint, or one that is damaged or of another network.
    """
    if not run.config.is_file():
        raise InputError(f"{run.path}: no run here (no config.yaml); give a run folder")
    if not run.best.is_file():
        raise InputError(
            f"{run.path}: has no checkpoint ({run.best}); its first epoch has not ended, or it was "
            "fetched without: take the folder from where it was trained"
        )
    config = run.read_config()
    classes = as_classes(run.read_record()["classes"], f"{run.record}: classes")
    checkpoint = read_checkpoint(run.best, "fit again, or take another run")
    prefix = "network."
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in checkpoint.get("state_dict", {}).items()
        if name.startswith(prefix)
    }
    network = build_network(config)
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise InputError(
            f"{run.best}: holds another network than {run.config} describes; put back the one it "
            "was trained with"
        ) from None
    if config["model"]["channels_last"]:
        network.to(memory_format=torch.channels_last)
    return LoadedNetwork(network.to(device), tuple(classes))


def build_network(config: Mapping[str, Any]) -> SegmentationNetwork:
    """The network of a run's configuration, in eval mode, with random weights."""
    given = {key: config["model"][key] for key in NETWORK if key in config["model"]}
    return build_model(**given).eval()


def device_called(name: str) -> torch.device:
    """The device of ``--device``; auto is CUDA where there is any, else the CPU.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"--device: {name}; torch finds no CUDA device here")
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError):  # no such kind, no such number, or none built in
        raise InputError(f"--device: {name}; give auto, cpu or cuda") from None
    return torch.device(name)
