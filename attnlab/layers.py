"""Layers that several families share: squeezes, the softmax over positions, self-initialising convolutions.

No function initialises a finished model: that would overwrite the initial weights of its attention.

A score that sees x only through a squeeze keeps it as `squeeze` and has `from_squeezed`, with
score(x) = from_squeezed(squeeze(x)) of the squeeze's shape: (B, C, 1, 1) for means and maxima over positions,
(B, 1, H, W) over channels. Such a gate can be fused (machine/kernels/gates.py).
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.errors import ConfigError

MODES = ("fan_in", "fan_out")
INITS = (*MODES, "glorot_uniform")
PADDINGS = ("both", "far")


class Mean(nn.Module):
    """Squeeze: x (B, C, H, W) -> the mean over positions, (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class Max(nn.Module):
    """Squeeze: x (B, C, H, W) -> the maximum over positions, (B, C). Among equal ones the first gets the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).max(dim=2).values


class MeanMax(nn.Module):
    """Squeeze: x (B, C, H, W) -> mean and maximum over positions, (B, C) each; gradients as in Mean and Max."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean(dim=(2, 3)), x.flatten(2).max(dim=2).values


class MaxMeanOverChannels(nn.Module):
    """Squeeze: x (B, C, H, W) -> maximum and mean over channels, (B, 1, H, W) each. Equal maxima share the gradient."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)


class MeanOverAxes(nn.Module):
    """Squeeze: x (B, C, H, W) -> the mean over columns, (B, C, H, 1), and the mean over rows, (B, C, 1, W)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean(dim=3, keepdim=True), x.mean(dim=2, keepdim=True)


class OverPositions(nn.Module):
    """Scores z (B, C, H, W) -> m (B, C, H, W): for each channel the softmax over positions, which sums to 1."""

    def forward(self, z: Tensor) -> Tensor:
        return z.flatten(2).softmax(dim=2).unflatten(2, z.shape[2:])


class FarPadded(nn.Conv2d):
    """x (B, C, H, W) -> (B, C', ceil(H / s), ceil(W / s)), padded with zeros as TensorFlow's `same`.

    There are as many zeros as the last window needs, half of them before the map; an odd one goes behind it. With
    stride 2 and an even size, 3x3 windows begin at pixel 0; with padding=1 they begin at pixel -1.
    """

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (1, 0):  # F.pad begins with the last one
            size, stride, kernel = x.shape[2 + axis], self.stride[axis], self.kernel_size[axis]
            missing = max(0, (math.ceil(size / stride) - 1) * stride + self.dilation[axis] * (kernel - 1) + 1 - size)
            pads += [missing // 2, missing - missing // 2]
        return self._conv_forward(F.pad(x, pads), self.weight, self.bias)


def conv(
    in_channels: int,
    channels: int,
    kernel_size: int = 1,
    stride: int = 1,
    *,
    bias: bool = False,
    dilation: int = 1,
    groups: int = 1,
    init: str | float = "fan_in",
    padding: str = "both",
) -> nn.Conv2d:
    """A `same`-padded convolution; its bias starts at zero.

    padding: `both` sides alike, or `far`, as TensorFlow pads; they differ if stride > 1 (FarPadded);
    init: He normal by `fan_in` or `fan_out` (He et al. 2015, arXiv 1502.01852), `glorot_uniform` (Glorot and Bengio
    2010, Keras' default), or the standard deviation of a normal distribution, 0 = all zero.
    Raises ConfigError for another padding or init.
    """
    if padding not in PADDINGS:
        raise ConfigError(f"wrong value model.padding={padding}; allowed are {', '.join(PADDINGS)}")
    if padding == "far" and stride > 1:
        layer: nn.Conv2d = FarPadded(in_channels, channels, kernel_size, stride, 0, dilation, groups, bias=bias)
    else:
        same = dilation * (kernel_size // 2)
        layer = nn.Conv2d(in_channels, channels, kernel_size, stride, same, dilation, groups, bias=bias)
    if isinstance(init, str) and init not in INITS:
        raise ConfigError(f"wrong value init={init}; allowed are {', '.join(INITS)}, or a standard deviation")
    if init == "glorot_uniform":
        nn.init.xavier_uniform_(layer.weight)
    elif isinstance(init, str):
        nn.init.kaiming_normal_(layer.weight, mode=init, nonlinearity="relu")  # type: ignore[arg-type]
    elif init == 0:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=init)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
