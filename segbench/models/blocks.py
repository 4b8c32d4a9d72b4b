"""The small pieces networks are built of."""

from torch import nn


def conv_bn_relu(fan_in: int, fan_out: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    """Convolution that keeps the size, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(
            fan_in,
            fan_out,
            kernel,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            bias=False,  # batch norm brings its own
        ),
        nn.BatchNorm2d(fan_out),
        nn.ReLU(inplace=True),
    )


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions: the unit of the classic UNet."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__(conv_bn_relu(fan_in, fan_out), conv_bn_relu(fan_out, fan_out))
        self.fan_in, self.fan_out = fan_in, fan_out
