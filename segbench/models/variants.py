"""Cheaper and deeper variants of a network: units of it replaced, the rest left as it is.

The report that segbench grew out of proposed them and did not try: separable convolutions and
inverted bottlenecks to make networks faster, skip connections to help the gradient in VGG.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Literal

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from segbench.errors import InputError
from segbench.models.blocks import DoubleConv

Variant = Literal["standard", "separable", "inverted", "residual"]


class SeparableConv(nn.Sequential):
    """A 3x3 convolution per channel, then a 1x1 across channels, with nothing in between.

    Chollet, Xception, CVPR 2017, who found that a nonlinearity in between does harm.
    """

    def __init__(self, like: nn.Conv2d) -> None:
        fan_in, fan_out = like.in_channels, like.out_channels
        padding = like.padding if isinstance(like.padding, str) else (like.padding[0],) * 2
        super().__init__(
            nn.Conv2d(
                *(fan_in, fan_in, 3),
                stride=(like.stride[0],) * 2,
                padding=padding,
                dilation=(like.dilation[0],) * 2,
                groups=fan_in,
                bias=False,
            ),
            nn.Conv2d(fan_in, fan_out, 1, bias=like.bias is not None),
        )


class InvertedBottleneck(nn.Module):
    """Widen by a 1x1, a 3x3 per channel, narrow by a linear 1x1; a shortcut where shapes allow.

    Sandler et al., MobileNetV2, CVPR 2018. It takes the place of two 3x3 convolutions. They widen
    6 times, from narrow maps; the maps of the networks here are as wide as theirs become, so that
    twice is enough (and 4 times would cost a UNet two thirds of what it was to save).
    """

    def __init__(self, fan_in: int, fan_out: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        wide = 2 * fan_in
        self.layers = nn.Sequential(
            nn.Conv2d(fan_in, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(*(wide, wide, 3, stride, dilation, dilation), groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, fan_out, 1, bias=False),
            nn.BatchNorm2d(fan_out),
        )
        self.shortcut = stride == 1 and fan_in == fan_out

    def forward(self, x: Tensor) -> Tensor:
        narrow: Tensor = self.layers(x)
        return x + narrow if self.shortcut else narrow


class Residual(nn.Module):
    """Layers with a shortcut around them, added before the last nonlinearity.

    He et al., Deep Residual Learning, CVPR 2016; where the number of channels changes the
    shortcut is a 1x1 projection (their option B).
    """

    def __init__(self, layers: nn.Sequential, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.layers = layers
        self.shortcut: nn.Module = nn.Identity()
        if fan_in != fan_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(fan_in, fan_out, 1, bias=False), nn.BatchNorm2d(fan_out)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.relu(self.layers(x) + self.shortcut(x))
        return added


def _inverted(unit: nn.Module) -> nn.Module | None:
    if isinstance(unit, DoubleConv):
        return InvertedBottleneck(unit.fan_in, unit.fan_out)
    if isinstance(unit, BasicBlock):
        first, second = unit.conv1, unit.conv2
        return InvertedBottleneck(
            first.in_channels, second.out_channels, first.stride[0], second.dilation[0]
        )
    return None


def _separable(unit: nn.Module) -> nn.Module | None:
    if not isinstance(unit, nn.Conv2d) or unit.kernel_size != (3, 3) or unit.groups > 1:
        return None
    if unit.in_channels == 3:
        return None  # of an image: one filter per colour would save nothing
    return SeparableConv(unit)


def _residual(unit: nn.Module) -> nn.Module | None:
    """Shortcuts around what lies between two poolings of a VGG; its places stay numbered."""
    if not isinstance(unit, nn.Sequential) or not any(isinstance(m, nn.MaxPool2d) for m in unit):
        return None
    layers: list[nn.Module] = []
    for pools, stage in groupby(unit, lambda m: isinstance(m, nn.MaxPool2d)):
        inner = list(stage)
        convolutions = [m for m in inner if isinstance(m, nn.Conv2d)]
        if not pools:
            fan_in, fan_out = convolutions[0].in_channels, convolutions[-1].out_channels
            block = Residual(nn.Sequential(*inner[:-1]), fan_in, fan_out)  # its own last ReLU
            inner = [block, *(nn.Identity() for _ in inner[1:])]
        layers += inner
    return nn.Sequential(*layers)


VARIANTS: dict[Variant, Callable[[nn.Module], nn.Module | None]] = {
    "separable": _separable,
    "inverted": _inverted,
    "residual": _residual,
}
"""Name -> what takes the place of a unit of a standard network; None where it stays."""


def make_variant(network: nn.Module, variant: Variant) -> None:
    """Turn a freshly built network into its variant, in place.

    Raises:
        InputError: the network has no part that the variant would change.
    """
    if variant == "standard":
        return
    units = [(parent, *unit) for parent in network.modules() for unit in parent.named_children()]
    replaced = 0
    for parent, name, unit in units:
        other = VARIANTS[variant](unit)
        if other is not None:
            setattr(parent, name, other)
            replaced += 1
    if not replaced:
        raise InputError(
            f"model.variant: {variant}: this network has no part that it would change; separable "
            "is for networks with 3x3 convolutions, inverted for the plain UNet and for ResNet18 "
            "and 34, residual for VGG"
        )
