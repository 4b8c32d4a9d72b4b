"""UNet: a decoder that climbs back over the backbone's maps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.models.backbones import build_backbone
from segbench.models.blocks import DoubleConv


class UNet(nn.Module):
    """Ronneberger et al., U-Net, MICCAI 2015.

    On the ``plain`` backbone this is the classic network (width 32: channels 32..512). Any other
    backbone gives its maps as skip connections; where its finest map is not at stride 1, the
    logits are upsampled bilinearly by the rest.

    Args:
        num_classes: channels of the logits.
        backbone: ``plain`` or an smp encoder.
        width: channels of the finest level of the plain backbone.
        pretrained: ImageNet weights for the encoder.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "plain",
        width: int = 32,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone, width=width, pretrained=pretrained)
        channels, strides = self.backbone.channels, self.backbone.strides
        self.stride = strides[-1]
        self.ups = nn.ModuleList()
        self.levels = nn.ModuleList()
        for level in range(len(channels) - 1, 0, -1):
            deep, skip = channels[level], channels[level - 1]
            factor = strides[level] // strides[level - 1]
            self.ups.append(nn.ConvTranspose2d(deep, skip, factor, stride=factor))
            self.levels.append(DoubleConv(2 * skip, skip))
        self.classifier = nn.Conv2d(channels[0], num_classes, 1)
        self.upsample = strides[0]

    def forward(self, images: Tensor) -> Tensor:
        *skips, x = self.backbone(images)
        for up, level, skip in zip(self.ups, self.levels, reversed(skips), strict=True):
            x = level(torch.cat([skip, up(x)], dim=1))
        logits: Tensor = self.classifier(x)
        if self.upsample == 1:
            return logits
        return F.interpolate(logits, scale_factor=self.upsample, mode="bilinear")
