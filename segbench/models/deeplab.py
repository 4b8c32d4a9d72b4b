"""DeepLab v3: context on a coarse map, then one bilinear step back to the image."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segbench.models.aspp import ASPP, projection
from segbench.models.backbones import EncoderBackbone
from segbench.models.blocks import conv_bn_relu


class DeepLab(nn.Module):
    """Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017.

    Encoder, ASPP (or a projection in its place), a 3x3 head, bilinear upsampling. There is no
    fusion with finer maps: that would be v3+.

    Args:
        num_classes: channels of the logits.
        backbone: an smp encoder.
        width: channels of ASPP and head.
        aspp: whether the context module is there.
        aspp_rates: its dilations in pixels of the coarse map. The default fits a 256 px crop at
            output stride 16, a map of 16 x 16: the paper's 6, 12, 18 on its 33 x 33 map, scaled.
        output_stride: image pixels per pixel of the coarse map: 8, 16 or 32.
        pretrained: ImageNet weights for the encoder.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "resnet18",
        width: int = 256,
        aspp: bool = True,
        aspp_rates: Sequence[int] = (3, 6, 9),
        output_stride: int = 16,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = EncoderBackbone(backbone, output_stride, pretrained)
        channels = self.backbone.channels[-1]
        self.stride = self.backbone.strides[-1]
        self.context = ASPP(channels, width, aspp_rates) if aspp else projection(channels, width)
        self.head = nn.Sequential(conv_bn_relu(width, width), nn.Conv2d(width, num_classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits = self.head(self.context(self.backbone(images)[-1]))
        return F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)
