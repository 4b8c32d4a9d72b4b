"""Batch norm as part of the convolution before it: fewer passes over memory, the same function."""

import copy
from contextlib import suppress

import torch
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

from segbench.models.network import SegmentationNetwork


def folded(network: SegmentationNetwork) -> SegmentationNetwork:
    """A copy to predict with: batch norms folded into convolutions, weights channels_last.

    Logits differ by what reordered sums of 32-bit floats do. A network that torch.fx cannot trace
    (those of segmentation_models_pytorch look at their input's size) keeps its batch norms.

    Args:
        network: in eval mode.
    """
    copied = copy.deepcopy(network)
    with suppress(TraceError):
        copied.network = fuse(copied.network)
    return copied.to(memory_format=torch.channels_last)
