"""Which taps see image: against a convolution's own gradients, and in the warning of ``fit``."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from segbench.models import build_model
from segbench.models.aspp import ASPP
from segbench.taps import (
    energy_of_idle,
    fitting_rates,
    idle,
    map_side,
    mean_seeing,
    seeing,
)
from segbench.training.context import idle_rates

HOMEWORK = (12, 24, 36)
CROP, WHOLE = (8, 8), (24, 32)
"""Maps at stride 32 of its 256 px crops, and of the 1000x750 images it was tested on."""


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (5, 12), (24, 32)])
@pytest.mark.parametrize("rate", [1, 2, 5, 8, 12, 24, 36])
def test_a_tap_sees_the_map_where_its_gradient_says_so(height: int, width: int, rate: int):
    context = ASPP(1, 1, [rate])
    assert context.rates == [rate]
    conv = context.branches[1][0]
    conv(torch.ones(1, 1, height, width)).sum().backward()
    # of a map of ones, the gradient of a tap is the number of positions at which it sees it
    assert seeing(height, width, rate) * height * width == pytest.approx(conv.weight.grad[0, 0])
    assert (idle(height, width, rate) == (conv.weight.grad[0, 0] == 0).numpy()).all()


def test_of_the_homeworks_rates_only_centres_are_trained():
    for rate in HOMEWORK:
        assert idle(*CROP, rate).sum() == 8
        assert not idle(*CROP, rate)[1, 1]
    assert [int((seeing(*WHOLE, rate) > 0).sum()) for rate in HOMEWORK] == [9, 3, 1]


def test_the_energy_of_idle_taps_is_that_of_a_real_branch():
    torch.manual_seed(0)
    features = torch.randn(1, 256, *WHOLE)
    expected = [energy_of_idle(idle(*CROP, rate), seeing(*WHOLE, rate)) for rate in HOMEWORK]
    assert expected == pytest.approx([3.5 / 4.5, 0.5 / 1.5, 0])
    for rate, share in zip(HOMEWORK, expected, strict=True):
        conv = nn.Conv2d(256, 64, 3, padding=rate, dilation=rate, bias=False)
        with torch.no_grad():
            everything = conv(features).square().sum()
            conv.weight[..., torch.from_numpy(~idle(*CROP, rate))] = 0
            assert conv(features).square().sum() / everything == pytest.approx(share, abs=0.02)


def test_several_maps_count_by_their_positions():
    both = mean_seeing([(8, 8), (24, 32)], 12)
    seen = 64 * seeing(8, 8, 12) + 768 * seeing(24, 32, 12)
    assert both == pytest.approx(seen / (64 + 768))


def test_rates_that_are_named_fit_and_scale_the_papers():
    assert fitting_rates(33) == [6, 12, 18]
    assert fitting_rates(16) == [3, 6, 9]  # the default at 256 px and stride 16
    assert fitting_rates(1) == []
    for side in range(2, 80):
        assert not any(idle(side, side, rate).any() for rate in fitting_rates(side))
    assert [map_side(pixels, 32) for pixels in (1, 32, 33, 256, 750)] == [1, 1, 2, 8, 24]


def test_idle_rates_are_named_with_those_that_fit():
    homework = build_model("deeplab", 5, aspp_rates=[3, *HOMEWORK], output_stride=32)
    warning = idle_rates(homework, 256)
    assert warning is not None
    assert warning.startswith("model.aspp_rates: 12, 24, 36 of [3, 12, 24, 36]: on the 8x8 map")
    assert "rates below 8 fit, such as [1, 3, 4]" in warning
    assert idle_rates(homework, 37 * 32) is None  # a map of 37: the rate of 36 just sees it
    assert "36 of" in str(idle_rates(homework, 36 * 32))
    assert "no rate fits" in str(idle_rates(homework, 32))
    assert idle_rates(build_model("deeplab", 5), 256) is None
    assert idle_rates(build_model("deeplab", 5, aspp=False), 32) is None
    assert idle_rates(build_model("unet", 5, width=4), 32) is None


def test_fit_warns_in_one_line(
    process: Callable[..., subprocess.CompletedProcess[str]], scenes: Path
):
    small = ("--model.architecture=deeplab", "--model.backbone=resnet18", "--model.width=8")
    short = ("--data.samples_per_epoch=2", "--data.batch_size=2", "--trainer.max_epochs=1")
    rates = ("--model.aspp_rates=[2,4]", "--model.output_stride=32", "--data.crop_size=96")
    done = process("fit", "--data.root", scenes, *small, *short, *rates)
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "aspp_rates" in line] == [
        "segbench: model.aspp_rates: 4 of [2, 4]: on the 3x3 map of a crop (96 px at stride 32) "
        "all taps but the centre see padding and stay untrained; rates below 3 fit, such as "
        "[1, 1, 2], or take a larger data.crop_size or a smaller model.output_stride"
    ]
