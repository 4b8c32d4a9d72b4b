"""Networks: sizes, parameter counts by independent arithmetic, gradients, refusals."""

from typing import Any, get_args

import pytest
import torch
from torch import nn

from segbench.errors import InputError
from segbench.models import ARCHITECTURES, Architecture, build_model
from segbench.models.backbones import EncoderBackbone
from segbench.models.deeplab import DeepLab

FOUR: dict[str, dict[str, Any]] = {
    "unet": {"architecture": "unet", "backbone": "plain"},
    "deeplab_resnet18": {"architecture": "deeplab", "backbone": "resnet18"},
    "deeplab_vgg11": {"architecture": "deeplab", "backbone": "vgg11_bn"},
    "deeplab_mobilenetv3": {"architecture": "deeplab", "backbone": "mobilenet_v3_small"},
}
EXTRA: dict[str, dict[str, Any]] = {
    "unet_resnet18": {"architecture": "unet", "backbone": "resnet18"},
    "segformer": {"architecture": "segformer", "backbone": "resnet18"},
    "upernet": {"architecture": "upernet", "backbone": "mobilenet_v3_small"},
}
CASES = list((FOUR | EXTRA).values())
IDS = list(FOUR | EXTRA)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def conv(fan_in: int, fan_out: int, kernel: int, bias: bool = False) -> int:
    return fan_in * fan_out * kernel**2 + fan_out * bias


def conv_bn(fan_in: int, fan_out: int, kernel: int) -> int:
    return conv(fan_in, fan_out, kernel) + 2 * fan_out


def test_parameters_of_the_classic_unet():
    widths = [32, 64, 128, 256, 512]
    down = sum(
        conv_bn(a, b, 3) + conv_bn(b, b, 3) for a, b in zip([3, *widths], widths, strict=False)
    )
    up = sum(
        conv(2 * w, w, 2, bias=True) + conv_bn(2 * w, w, 3) + conv_bn(w, w, 3) for w in widths[:-1]
    )
    expected = down + up + conv(32, 8, 1, bias=True)
    assert parameters(build_model("unet", 8)) == expected == 7_763_272


def aspp(fan_in: int) -> int:
    branches = conv_bn(fan_in, 256, 1) + 3 * conv_bn(fan_in, 256, 3)
    return branches + conv_bn(fan_in, 256, 1) + conv_bn(5 * 256, 256, 1)  # pool, projection


HEAD = conv_bn(256, 256, 3) + conv(256, 8, 1, bias=True)


def resnet18() -> int:
    def stage(fan_in: int, fan_out: int) -> int:
        first = conv_bn(fan_in, fan_out, 3) + conv_bn(fan_out, fan_out, 3)
        shortcut = conv_bn(fan_in, fan_out, 1) if fan_in != fan_out else 0
        return first + shortcut + 2 * conv_bn(fan_out, fan_out, 3)

    stem = conv_bn(3, 64, 7)
    return stem + stage(64, 64) + stage(64, 128) + stage(128, 256) + stage(256, 512)


def vgg11_bn() -> int:
    plan = [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512)]
    return sum(conv_bn(a, b, 3) + b for a, b in [*plan, (512, 512)])  # VGG's convs have biases


def mobilenet_v3_small() -> int:
    """Table 2 of Howard et al., Searching for MobileNetV3, ICCV 2019, up to its 1x1, 576."""

    def divisible(channels: float) -> int:
        return int(channels + 4) // 8 * 8

    def block(fan_in: int, expanded: int, fan_out: int, kernel: int, squeeze: bool) -> int:
        total = conv_bn(fan_in, expanded, 1) if expanded != fan_in else 0
        total += conv_bn(1, expanded, kernel)  # depthwise: one input channel per output
        if squeeze:
            inner = divisible(expanded / 4)
            total += conv(expanded, inner, 1, bias=True) + conv(inner, expanded, 1, bias=True)
        return total + conv_bn(expanded, fan_out, 1)

    table = [
        (16, 16, 16, 3, True),
        (16, 72, 24, 3, False),
        (24, 88, 24, 3, False),
        (24, 96, 40, 5, True),
        (40, 240, 40, 5, True),
        (40, 240, 40, 5, True),
        (40, 120, 48, 5, True),
        (48, 144, 48, 5, True),
        (48, 288, 96, 5, True),
        (96, 576, 96, 5, True),
        (96, 576, 96, 5, True),
    ]
    return conv_bn(3, 16, 3) + sum(block(*row) for row in table) + conv_bn(96, 576, 1)


@pytest.mark.parametrize(
    ("backbone", "encoder", "channels"),
    [
        ("resnet18", resnet18(), 512),
        ("vgg11_bn", vgg11_bn(), 512),
        ("mobilenet_v3_small", mobilenet_v3_small(), 576),
    ],
)
def test_parameters_of_deeplab(backbone: str, encoder: int, channels: int):
    assert parameters(EncoderBackbone(backbone, 16)) == encoder
    on = build_model("deeplab", 8, backbone=backbone)
    off = build_model("deeplab", 8, backbone=backbone, aspp=False)
    assert parameters(on) == encoder + aspp(channels) + HEAD
    assert parameters(off) == encoder + conv_bn(channels, 256, 1) + HEAD


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("size", [(96, 64), (70, 101), (33, 50)])
def test_logits_have_the_size_of_the_image(case: dict[str, Any], size: tuple[int, int]):
    network = build_model(num_classes=5, **case).eval()
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    with torch.inference_mode():
        logits = network(images)
        assert logits.shape == (2, 5, *size)
        assert torch.equal(logits, network(images.float()))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_gradients_reach_every_parameter(case: dict[str, Any]):
    torch.manual_seed(0)
    network = build_model(num_classes=5, **case)
    logits = network(torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8))
    (logits * torch.randn(logits.shape)).sum().backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_the_map_has_the_stride_asked_for(output_stride: int):
    for backbone in ("resnet18", "mobilenet_v3_small"):
        maps = EncoderBackbone(backbone, output_stride)(torch.zeros(2, 3, 128, 64))
        assert maps[-1].shape[2:] == (128 // output_stride, 64 // output_stride)


def test_vgg_reaches_16_with_all_of_its_convolutions():
    backbone = EncoderBackbone("vgg11_bn", 16)
    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    assert backbone.strides[-1] == 16
    assert len(convolutions) == 8
    with pytest.raises(InputError, match=r"model\.output_stride.*vgg11_bn.*16"):
        build_model("deeplab", 5, backbone="vgg11_bn", output_stride=8)


def test_features_keep_their_contract():
    for name in ("resnet18", "vgg11_bn", "mobilenet_v3_small"):
        backbone = EncoderBackbone(name)
        maps = backbone(torch.zeros(2, 3, 64, 96))
        assert [m.shape[1] for m in maps] == backbone.channels
        assert [64 // m.shape[2] for m in maps] == backbone.strides == sorted(backbone.strides)


def test_rates_are_dilations_of_three_by_three_branches():
    network = DeepLab(5, aspp_rates=[2, 5])
    dilations = {m.dilation[0] for m in network.context.modules() if isinstance(m, nn.Conv2d)}
    assert dilations == {1, 2, 5}


def test_a_rate_of_the_maps_size_sees_padding_only():
    """The homework's mistake: at stride 32 a 256 px crop is a map of 8 x 8."""
    torch.manual_seed(0)
    network = DeepLab(5, aspp_rates=[3, 12], output_stride=32)
    network(torch.randn(2, 3, 256, 256)).square().sum().backward()
    fitted, homework = (branch[0].weight.grad for branch in list(network.context.branches)[1:])
    centre = torch.zeros(3, 3, dtype=torch.bool)
    centre[1, 1] = True
    assert (homework[..., ~centre] == 0).all()
    assert (homework[..., centre] != 0).any()
    assert (fitted[..., ~centre] != 0).any()


def test_aspp_trains_on_a_batch_of_one():
    logits = build_model("deeplab", 5).train()(torch.zeros(1, 3, 64, 64))
    assert torch.isfinite(logits).all()


def test_batch_norm_follows_fast_enough_for_short_training():
    """0.01, torchvision's momentum for MobileNetV3, leaves statistics half initial: 80 steps."""
    for case in CASES:
        network = build_model(num_classes=5, **case)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        assert {norm.momentum for norm in norms} == {0.1}


def test_the_table_and_the_type_name_the_same_architectures():
    assert set(get_args(Architecture)) == set(ARCHITECTURES)


def test_an_option_that_the_architecture_lacks_is_refused():
    with pytest.raises(InputError, match=r"model\.aspp: unet has no such part.*backbone"):
        build_model("unet", 5, aspp=False)


@pytest.mark.parametrize("name", ["resnet81", "tu-resnet81"])
def test_an_unknown_backbone_is_refused_by_name(name: str):
    with pytest.raises(InputError, match=rf"model\.backbone.*{name}"):
        build_model("deeplab", 5, backbone=name)
