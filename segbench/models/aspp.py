"""Atrous spatial pyramid pooling, and what stands in its place when it is off."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segbench.models.blocks import conv_bn_relu


class ASPP(nn.Module):
    """Context at several distances: parallel atrous convolutions and an image-level pool.

    Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017 (DeepLab v3).
    The pooled branch is normalised over its channels instead of over the batch: one vector per
    image gives batch norm nothing to work on when the batch is a single image.

    Args:
        fan_in: channels of the map.
        fan_out: channels of every branch and of the result.
        rates: dilation of each 3x3 branch, in pixels of the map. A rate of the map's size or
            more leaves that branch its centre tap only: the others see padding.
    """

    def __init__(self, fan_in: int, fan_out: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.rates = list(rates)
        self.branches = nn.ModuleList(
            [conv_bn_relu(fan_in, fan_out, kernel=1)]
            + [conv_bn_relu(fan_in, fan_out, dilation=rate) for rate in rates]
        )
        self.pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(fan_in, fan_out, 1, bias=False),
            nn.GroupNorm(1, fan_out),
            nn.ReLU(inplace=True),
        )
        self.project = nn.Sequential(
            conv_bn_relu((len(rates) + 2) * fan_out, fan_out, kernel=1), nn.Dropout(0.1)
        )

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(x).expand(-1, -1, x.shape[2], x.shape[3])
        maps = [branch(x) for branch in self.branches]
        projected: Tensor = self.project(torch.cat([*maps, pooled], dim=1))
        return projected


def projection(fan_in: int, fan_out: int) -> nn.Module:
    """ASPP off: a 1x1 projection to the same width, so that the head after it is the same."""
    return conv_bn_relu(fan_in, fan_out, kernel=1)
