"""Where a run comes from: versions, hardware, sources."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

import segbench
from segbench.runs import fingerprint


def versions() -> dict[str, str]:
    packages = (
        *("torch", "pytorch-lightning", "torchmetrics"),
        *("segmentation-models-pytorch", "timm", "torchvision"),
        *("albumentations", "opencv-python-headless", "pillow", "numpy"),
    )
    own = {"python": platform.python_version(), "segbench": segbench.__version__}
    return own | {package: version(package) for package in packages}


def hardware(trainer: pl.Trainer) -> dict[str, Any]:
    accelerator = type(trainer.accelerator).__name__.removesuffix("Accelerator").lower()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "accelerator": accelerator,
        "devices": trainer.num_devices * trainer.num_nodes,
        "gpus": gpus if accelerator == "cuda" else [],
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
        "system": platform.platform(),
    }


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def git_commit() -> str | None:
    """The commit of the sources that run, with ``-dirty`` if they differ from it."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def code_fingerprint() -> str:
    """A hash of segbench's own sources: what produced a run, committed or not."""
    package = Path(segbench.__file__).parent
    sources = {
        path.relative_to(package).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(package.rglob("*.py"))
    }
    return fingerprint(sources)
