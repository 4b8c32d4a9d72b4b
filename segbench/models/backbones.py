"""Backbones: what turns an image into feature maps.

Every backbone promises ``channels`` and ``strides`` of the feature maps that its ``forward``
returns, finest first. Decoders ask for nothing else.
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from segbench.errors import InputError
from segbench.models.blocks import DoubleConv
from segbench.models.pretrained import fetching_weights

ALIASES = {
    # timm's port has a batch-norm momentum of 0.1; torchvision's 0.01 leaves the statistics half
    # initial after 80 steps, which ruins short training from scratch.
    "mobilenet_v3_small": "tu-mobilenetv3_small_100",
}


class Backbone(nn.Module):
    """The contract: feature maps, finest first, with their channels and strides."""

    channels: list[int]
    strides: list[int]


class PlainBackbone(Backbone):
    """The contracting path of the classic UNet: 5 levels of two 3x3 convolutions.

    Ronneberger et al., U-Net, MICCAI 2015, with batch norm and padded convolutions.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = [width * 2**level for level in range(5)]
        self.strides = [2**level for level in range(5)]
        inputs = [3, *self.channels[:-1]]
        self.levels = nn.ModuleList(
            DoubleConv(fan_in, fan_out)
            for fan_in, fan_out in zip(inputs, self.channels, strict=True)
        )
        self.pool = nn.MaxPool2d(2)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [self.levels[0](images)]
        for level in list(self.levels)[1:]:
            maps.append(level(self.pool(maps[-1])))
        return maps


class EncoderBackbone(Backbone):
    """An encoder of segmentation_models_pytorch (ResNet, VGG, MobileNet, any timm network).

    Args:
        name: smp's name of the encoder, or a key of :data:`ALIASES`.
        output_stride: stride of the coarsest map, 8, 16 or 32, reached by dilation. VGG cannot
            be dilated; at 16 it ends with its last convolution, before the last pooling.
        pretrained: load ImageNet weights.

    Raises:
        InputError: no such encoder, a stride it cannot reach, or weights out of reach.
    """

    def __init__(self, name: str, output_stride: int = 32, pretrained: bool = False) -> None:
        super().__init__()
        with fetching_weights(name) if pretrained else nullcontext():
            self.encoder = _encoder(name, output_stride, "imagenet" if pretrained else None)
        with torch.no_grad():  # what the encoder does beats what its tables say
            image = torch.zeros(1, 3, 64, 64)
            maps = self.encoder.eval()(image)
        self.encoder.train()
        # some encoders hand the image through as their first map: nothing to learn from
        self.skip = sum(m.shape[1:] == image.shape[1:] for m in maps)
        self.channels = [m.shape[1] for m in maps[self.skip :]]
        self.strides = [64 // m.shape[2] for m in maps[self.skip :]]

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.encoder(images)[self.skip :])


def build_backbone(name: str, *, width: int, pretrained: bool) -> Backbone:
    """``plain`` (of base ``width``) or any smp encoder by name, undilated."""
    if name == "plain":
        if pretrained:
            raise InputError(
                "model.pretrained: the plain backbone has no ImageNet weights; "
                "set it to false, or choose an encoder such as model.backbone=resnet18"
            )
        return PlainBackbone(width)
    return EncoderBackbone(name, pretrained=pretrained)


def _encoder(name: str, output_stride: int, weights: str | None) -> nn.Module:
    from segmentation_models_pytorch.encoders import get_encoder  # costs seconds

    smp_name = ALIASES.get(name, name)
    encoder: nn.Module
    try:
        try:
            encoder = get_encoder(smp_name, weights=weights, output_stride=output_stride)
        except ValueError:  # no dilated mode: VGG; but behind stride 16 it only pools once more
            if output_stride != 16:
                raise InputError(
                    f"model.output_stride: {name} cannot be dilated to {output_stride}; "
                    "take 16 or 32, or another model.backbone"
                ) from None
            encoder = get_encoder(smp_name, depth=4, weights=weights)
    except (KeyError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "Unknown model" not in str(error):
            raise
        raise InputError(
            f"model.backbone: no encoder is called {name!r} (with such weights); take resnet18, "
            "vgg11_bn, mobilenet_v3_small or another of segmentation_models_pytorch; plain is the "
            "UNet's own"
        ) from None
    return encoder
