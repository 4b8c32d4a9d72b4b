"""Networks in plain PyTorch: images in, logits out. Nothing here knows of training."""

from segbench.models.network import ARCHITECTURES, Architecture, SegmentationNetwork, build_model

__all__ = ["ARCHITECTURES", "Architecture", "SegmentationNetwork", "build_model"]
