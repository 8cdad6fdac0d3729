"""Convolutions that initialise themselves at birth (He normal), so no sweep over a model ever touches attention."""

from torch import nn


def conv(in_channels: int, channels: int, kernel_size: int, stride: int = 1, *, bias: bool = False) -> nn.Conv2d:
    """A `same`-padded convolution; kernel He normal by fan-in (He et al. 2015, arXiv 1502.01852), bias 0."""
    layer = nn.Conv2d(in_channels, channels, kernel_size, stride, padding=kernel_size // 2, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
