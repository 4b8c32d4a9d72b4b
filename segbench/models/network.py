"""The table of architectures, and the network around each of them."""

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.errors import InputError
from segbench.models.backbones import ALIASES
from segbench.models.deeplab import DeepLab
from segbench.models.pretrained import fetching_weights
from segbench.models.unet import UNet
from segbench.models.variants import Variant, make_variant

Architecture = Literal["unet", "deeplab", "segformer", "upernet"]


class SmpNetwork(nn.Module):
    """An architecture of segmentation_models_pytorch, by the name of its class."""

    def __init__(
        self,
        class_name: str,
        num_classes: int,
        *,
        backbone: str = "resnet18",
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp  # costs seconds: only when it is wanted

        with fetching_weights(backbone) if pretrained else nullcontext():
            try:
                self.network = getattr(smp, class_name)(
                    ALIASES.get(backbone, backbone),
                    encoder_weights="imagenet" if pretrained else None,
                    classes=num_classes,
                )
            except (KeyError, ValueError, RuntimeError) as error:
                raise InputError(
                    f"model.backbone: {class_name} cannot be built on {backbone!r} ({error})"
                ) from None
        self.stride = 32

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


ARCHITECTURES: dict[Architecture, Callable[..., nn.Module]] = {
    "unet": UNet,
    "deeplab": DeepLab,
    "segformer": partial(SmpNetwork, "Segformer"),
    "upernet": partial(SmpNetwork, "UPerNet"),
}
"""Name -> builder. A builder's keyword arguments are the ``model`` keys it understands."""


class SegmentationNetwork(nn.Module):
    """A network for images as they are: any size, raw values.

    It normalises (ImageNet's mean and deviation), pads to the multiple that the architecture
    needs by repeating the border, and cuts the logits back to the image's size. Nothing is
    resized.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, stride: int) -> None:
        super().__init__()
        self.network = network
        self.stride = stride
        # constants, so not part of the weights
        mean = torch.tensor([0.485, 0.456, 0.406]).mul(255).view(1, 3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).mul(255).view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of RGB images.

        Args:
            images: [N, 3, H, W], values 0..255, uint8 or float.

        Returns:
            [N, K, H, W] float logits (no softmax).
        """
        height, width = images.shape[2:]
        # written so that torch.export sees that the padded sides are multiples of the stride
        below = (height + self.stride - 1) // self.stride * self.stride - height
        right = (width + self.stride - 1) // self.stride * self.stride - width
        x = (images - self.mean) / self.std
        x = F.pad(x, (0, right, 0, below), mode="replicate")
        logits: Tensor = self.network(x)[..., :height, :width]
        return logits


def size_of(network: SegmentationNetwork) -> dict[str, Any]:
    """Its ``parameters``, and with its buffers ``size_mb`` as 32-bit floats."""
    parameters = sum(p.numel() for p in network.parameters())
    buffers = sum(b.numel() for b in network.network.buffers())  # not the constants around it
    return {"parameters": parameters, "size_mb": (parameters + buffers) * 4 / 1e6}


def build_model(
    architecture: Architecture, num_classes: int, *, variant: Variant = "standard", **options: Any
) -> SegmentationNetwork:
    """The network of this name for this many classes.

    Args:
        architecture: a key of :data:`ARCHITECTURES`.
        num_classes: channels of the logits.
        variant: what units it is built of.
        **options: ``model`` keys; None means the architecture's own default.

    Raises:
        InputError: an option that the architecture does not have, or a variant of it that does
            not exist.
    """
    builder = ARCHITECTURES[architecture]
    known = {
        name
        for name, parameter in inspect.signature(builder).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    given = {name: value for name, value in options.items() if value is not None}
    for name in ("width", "aspp_rates"):
        if name in given and min(np.atleast_1d(given[name]), default=0) < 1:
            raise InputError(f"model.{name}: {given[name]}; give numbers from 1 on")
    for name in given.keys() - known:
        raise InputError(
            f"model.{name}: {architecture} has no such part "
            f"(it understands {', '.join(sorted(known))}); leave it out or set it to null"
        )
    if variant != "standard" and given.get("pretrained"):
        raise InputError(
            f"model.pretrained: there are no ImageNet weights for the variant {variant}; set it to "
            "false, or model.variant to standard"
        )
    network = builder(num_classes, **given)
    make_variant(network, variant)
    return SegmentationNetwork(network, int(network.stride))  # type: ignore[arg-type]
