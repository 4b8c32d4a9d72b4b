"""Networks in plain PyTorch: images in, logits out. Nothing here knows of training."""

from segbench.models.network import (
    ARCHITECTURES,
    Architecture,
    SegmentationNetwork,
    build_model,
    size_of,
)
from segbench.models.variants import Variant

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "SegmentationNetwork",
    "Variant",
    "build_model",
    "size_of",
]
