"""Batch norm folded into convolutions: the same function, in fewer steps."""

import pytest
import torch
from torch import nn

from segbench.models import SegmentationNetwork, build_model
from segbench.models.folding import folded

TRACED = [
    {"architecture": "unet", "width": 8},
    {"architecture": "unet", "width": 8, "variant": "inverted"},
    *({"architecture": "deeplab", "width": 16, "backbone": backbone}
      for backbone in ("resnet18", "vgg11_bn", "mobilenet_v3_small")),
]  # fmt: skip
NOT_TRACED = [{"architecture": "segformer"}, {"architecture": "upernet"}]


def used(keys: dict) -> SegmentationNetwork:
    """A network whose batch norms do something."""
    torch.manual_seed(0)
    network = build_model(num_classes=5, **keys).eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.8, 1.2)
            norm.weight.data.uniform_(0.8, 1.2)
            norm.bias.data.normal_(0, 0.1)
    return network


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("keys", TRACED + NOT_TRACED, ids=lambda k: " ".join(map(str, k.values())))
@torch.inference_mode()
def test_logits_stay(keys: dict):
    network = used(keys)
    before = norms(network)
    ready = folded(network)
    for size in ((1, 64, 96), (2, 70, 50)):  # the second is padded, and another than was traced
        images = torch.randint(0, 256, (size[0], 3, *size[1:]), dtype=torch.uint8)
        torch.testing.assert_close(ready(images), network(images), rtol=1e-3, atol=1e-4)
    assert norms(network) == before > 0
    assert norms(ready) == (0 if keys in TRACED else before)
