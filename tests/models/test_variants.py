"""Variants: what they compute, against other implementations, and what they are made of."""

from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.mobilenetv2 import InvertedResidual

from segbench.errors import InputError
from segbench.models import Variant, build_model
from segbench.models.variants import VARIANTS, InvertedBottleneck, Residual, SeparableConv

NETWORKS: dict[str, dict[str, Any]] = {
    "unet": {"architecture": "unet"},
    "resnet18": {"architecture": "deeplab", "backbone": "resnet18"},
    "vgg11": {"architecture": "deeplab", "backbone": "vgg11_bn"},
}
CASES = [
    ("unet", "separable"),
    ("unet", "inverted"),
    ("resnet18", "separable"),
    ("resnet18", "inverted"),
    ("vgg11", "separable"),
    ("vgg11", "residual"),
]


def build(name: str, variant: Variant = "standard") -> nn.Module:
    torch.manual_seed(0)
    return build_model(num_classes=5, variant=variant, **NETWORKS[name])


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def macs(network: nn.Module) -> int:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, 64, 64))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 3)])
def test_a_separable_convolution_is_a_dense_one_of_rank_one(stride: int, dilation: int):
    torch.manual_seed(0)
    dense = nn.Conv2d(4, 6, 3, stride, dilation, dilation)
    separable = SeparableConv(dense)
    per_channel, across = separable[0].weight[:, 0], separable[1].weight[:, :, 0, 0]
    kernel = across[:, :, None, None] * per_channel[None]
    images = torch.randn(2, 4, 11, 9)
    expected = F.conv2d(images, kernel, separable[1].bias, stride, dilation, dilation)
    torch.testing.assert_close(separable(images), expected)


@pytest.mark.parametrize(("fan_out", "stride"), [(8, 1), (8, 2), (12, 1)])
def test_an_inverted_bottleneck_is_that_of_torchvision(fan_out: int, stride: int):
    torch.manual_seed(0)
    ours = InvertedBottleneck(8, fan_out, stride).eval()
    theirs = InvertedResidual(8, fan_out, stride, expand_ratio=2).eval()
    weights = dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True))
    theirs.load_state_dict(weights)
    images = torch.randn(2, 8, 10, 10)  # too small for their ReLU6 to differ from ReLU
    torch.testing.assert_close(ours(images), theirs(images))


def test_a_shortcut_goes_around_its_layers():
    silent = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6))
    nn.init.zeros_(silent[1].weight)
    block = Residual(silent, 4, 6).eval()
    images = torch.randn(2, 4, 5, 5)
    projected = block.shortcut(images)
    assert projected.min() < 0
    torch.testing.assert_close(block(images), projected.relu())


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_a_variant_learns_and_keeps_the_size_of_the_image(name: str, variant: Variant):
    network = build(name, variant)
    images = torch.randint(0, 256, (2, 3, 70, 101), dtype=torch.uint8)
    logits = network(images)
    assert logits.shape == (2, 5, 70, 101)
    (logits * torch.randn(logits.shape)).sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", NETWORKS)
def test_separable_networks_have_the_parameters_of_the_arithmetic(name: str):
    standard, separable = build(name), build(name, "separable")
    dense = [m for m in standard.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    saved = sum(
        9 * m.in_channels * m.out_channels - (9 * m.in_channels + m.in_channels * m.out_channels)
        for m in dense
        if m.in_channels > 3
    )
    assert parameters(separable) == parameters(standard) - saved
    assert macs(separable) < macs(standard) / 4


def test_inverted_networks_do_less_and_keep_their_strides():
    for name in ("unet", "resnet18"):
        assert macs(build(name, "inverted")) < macs(build(name)) / 2
    blocks = [m for m in build("resnet18", "inverted").modules()
              if isinstance(m, InvertedBottleneck)]  # fmt: skip
    assert len(blocks) == 8
    # stride 16: the last stage is dilated in place of its stride
    depthwise = [m.layers[3] for m in blocks]
    assert [m.stride[0] for m in depthwise] == [1, 1, 2, 1, 2, 1, 1, 1]
    assert [m.dilation[0] for m in depthwise] == [1, 1, 1, 1, 1, 1, 2, 2]


def test_a_residual_vgg_has_a_shortcut_per_stage():
    blocks = [m for m in build("vgg11", "residual").modules() if isinstance(m, Residual)]
    assert [isinstance(m.shortcut, nn.Identity) for m in blocks] == [False] * 4 + [True]
    projections = [3 * 64, 64 * 128, 128 * 256, 256 * 512]
    more = sum(projections) + 2 * (64 + 128 + 256 + 512)  # and their batch norms
    assert parameters(build("vgg11", "residual")) == parameters(build("vgg11")) + more


def test_what_cannot_be_varied_is_refused():
    with pytest.raises(InputError, match=r"model\.variant: residual.*VGG"):
        build("unet", "residual")
    with pytest.raises(InputError, match=r"model\.variant: inverted"):
        build("vgg11", "inverted")
    with pytest.raises(InputError, match=r"model\.pretrained.*variant separable"):
        build_model("deeplab", 5, variant="separable", pretrained=True)


def test_the_table_and_the_type_name_the_same_variants():
    assert {"standard", *VARIANTS} == set(get_args(Variant))
