"""The blocks of both U-Nets: convolution with normalization, stacks of them, residual blocks.

Leaky ReLU (slope 0.01) writes into its input: the normalization in front of it keeps no output for
its gradient, and the gradient of leaky ReLU follows from its own output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flare_nets.config import Norm, Size

__all__ = ["NEGATIVE_SLOPE", "ConvNorm", "ResidualBlock", "conv_stack", "residual_stack"]

NEGATIVE_SLOPE = 0.01
_NORMS: dict[Norm, type[nn.InstanceNorm3d] | type[nn.BatchNorm3d]] = {
    "instance": nn.InstanceNorm3d,
    "batch": nn.BatchNorm3d,
}


class ConvNorm(nn.Module):
    """A convolution that keeps the grid (divided by the stride), normalization, leaky ReLU.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after.
    kernel : (3,) int
        Odd sizes; the input is padded with zeros by half of them.
    stride : (3,) int
        Step of the convolution.
    norm : {"instance", "batch"}
        Normalization, with weight and bias, eps 1e-5.
    bias : bool
        Bias of the convolution.
    activation : bool
        Whether leaky ReLU follows.

    Attributes
    ----------
    channels_last : bool
        Set by `flare_nets.use_channels_last`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Size,
        *,
        stride: Size = (1, 1, 1),
        norm: Norm,
        bias: bool,
        activation: bool = True,
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride, padding, bias=bias)
        self.norm = _NORMS[norm](out_channels, eps=1e-5, affine=True)
        self.activation = activation
        self.channels_last = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, in, z, y, x) to (b, out, z / stride, y / stride, x / stride)."""
        x = self._normalized(self.conv(x))
        return F.leaky_relu(x, NEGATIVE_SLOPE, inplace=True) if self.activation else x

    def _normalized(self, x: Tensor) -> Tensor:
        norm = self.norm
        # See flare_nets.channels_last; the gradient of group norm is slow in bfloat16.
        fits = self.channels_last and x.dtype != torch.bfloat16
        if fits and isinstance(norm, nn.InstanceNorm3d):
            return F.group_norm(x, x.shape[1], norm.weight, norm.bias, norm.eps)
        normalized: Tensor = norm(x)
        return normalized


class ResidualBlock(nn.Module):
    """Two convolutions added to a shortcut, leaky ReLU after the sum.

    The shortcut is average pooling where the block has a stride, then a 1x1x1 convolution without
    bias where the number of channels changes ("ResNet-D"; He et al., Bag of tricks for image
    classification with convolutional neural networks, 2019, section 4).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Size,
        *,
        stride: Size = (1, 1, 1),
        norm: Norm,
        bias: bool,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.first = ConvNorm(
            in_channels, out_channels, kernel, stride=stride, norm=norm, bias=bias
        )
        self.second = ConvNorm(
            out_channels, out_channels, kernel, norm=norm, bias=bias, activation=False
        )
        self.skip: ConvNorm | None = None
        if in_channels != out_channels:
            self.skip = ConvNorm(
                in_channels, out_channels, (1, 1, 1), norm=norm, bias=False, activation=False
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, in, z, y, x) to (b, out, z / stride, y / stride, x / stride)."""
        out: Tensor = self.second(self.first(x))
        if self.stride != (1, 1, 1):
            x = F.avg_pool3d(x, self.stride, self.stride)
        if self.skip is not None:
            x = self.skip(x)
        out += x
        return F.leaky_relu(out, NEGATIVE_SLOPE, inplace=True)


def conv_stack(
    channels: tuple[int, int], kernel: Size, *, count: int, stride: Size, norm: Norm, bias: bool
) -> nn.Sequential:
    """Return ``count`` convolutions; the first changes the channels and takes the stride."""
    before, after = channels
    rest = [ConvNorm(after, after, kernel, norm=norm, bias=bias) for _ in range(count - 1)]
    first = ConvNorm(before, after, kernel, stride=stride, norm=norm, bias=bias)
    return nn.Sequential(first, *rest)


def residual_stack(
    channels: tuple[int, int], kernel: Size, *, count: int, stride: Size, norm: Norm, bias: bool
) -> nn.Sequential:
    """Return ``count`` residual blocks; the first changes the channels and takes the stride."""
    before, after = channels
    rest = [ResidualBlock(after, after, kernel, norm=norm, bias=bias) for _ in range(count - 1)]
    first = ResidualBlock(before, after, kernel, stride=stride, norm=norm, bias=bias)
    return nn.Sequential(first, *rest)
