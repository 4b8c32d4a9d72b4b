"""Weights on disk."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from segbench.errors import InputError


def read_checkpoint(path: Path, remedy: str) -> dict[str, Any]:
    """A checkpoint, on the CPU; only tensors and plain values are loaded.

    Raises:
        InputError: it holds more than that, or is damaged; ``remedy`` then says what to do.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums
            if archive.testzip() is not None:
                raise zipfile.BadZipFile
        checkpoint: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: holds more than tensors and plain values, so loading it could run foreign "
            "code; only checkpoints that segbench wrote are loaded"
        ) from None
    except Exception as error:  # a damaged archive raises whatever its bytes suggest
        raise InputError(f"{path}: damaged ({type(error).__name__}); {remedy}") from None
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise InputError(f"{path}: holds no weights; {remedy}")
    return checkpoint
