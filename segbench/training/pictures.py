"""The pictures beside the numbers: predictions of a run, test images of a study."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.data.dataset import Pair, read_image, read_mask
from segbench.errors import InputError
from segbench.files import write_atomic

STORED_SIDE = 1024
"""Longest side, in pixels, of the test images that a study keeps for looking at."""


def make_prediction_folders(folder: Path) -> None:
    """What :func:`write_prediction` needs to be there."""
    for kind in ("predictions", "confidence"):
        (folder / kind).mkdir(parents=True, exist_ok=True)


def write_prediction(folder: Path, outputs: Mapping[str, Any]) -> None:
    """``predictions/<name>.png`` (class ids) and ``confidence/<name>.png`` (0..255)."""
    prediction = outputs["prediction"].cpu().numpy().astype(np.uint8)
    confidence = (outputs["confidence"].cpu().numpy() * 255).round().astype(np.uint8)
    for kind, pixels in (("predictions", prediction), ("confidence", confidence)):
        write_atomic(folder / kind / f"{outputs['name']}.png", _encode(".png", pixels))


def store_test_set(folder: Path, pairs: Iterable[Pair], data_fingerprint: str) -> None:
    """Keep the test images (reduced) and truths that are not there yet."""
    owner = folder / "data"
    if owner.exists() and owner.read_bytes() != data_fingerprint.encode():
        raise InputError(
            f"{folder}: holds the test images of another data set; runs that lie side by side "
            "share one, so give this run a place of its own with --run_dir"
        )
    for kind in ("image", "truth"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    write_atomic(owner, data_fingerprint)
    for pair in pairs:
        image, truth = folder / "image" / f"{pair.name}.jpg", folder / "truth" / f"{pair.name}.png"
        if not image.exists():
            write_atomic(image, _encode(".jpg", _reduced(read_image(pair.image))[..., ::-1]))
        if not truth.exists():
            write_atomic(truth, _encode(".png", read_mask(pair.mask)))


def _reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = STORED_SIDE / max(image.shape[:2])
    if factor >= 1:
        return image
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _encode(suffix: str, pixels: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(suffix, np.ascontiguousarray(pixels))[1])
