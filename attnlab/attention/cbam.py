"""Convolutional Block Attention Module: a score per channel, then a score per position.

z_channel = MLP(mean over space) + MLP(max over space), one shared MLP;
z_spatial = [BN] conv_kxk([max over channels; mean over channels]).
Source: Woo et al. 2018 (arXiv 1807.06521), section 3; k = 7, r = 16; channel first, then spatial.
`cbam` is the official code, Jongchan/attention-module@459efad MODELS/cbam.py: a BN follows the spatial conv, its
weight starts at 0 (the spatial mask starts at 0.5). `cbam_laakom2021` is firasl/inverse_attention@8c9a08c: no BN,
r = 8, planes in the order [mean; max], MLP kernels N(0, 0.01).
Differs from the authors' code in: the channel MLP and the spatial conv are He normal by fan-in (there: PyTorch's
default, and fan-out).
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from attnlab.attention.excitation import Excitation
from attnlab.errors import ConfigError


class ChannelScore(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1)."""

    def __init__(self, channels: int, *, reduction: int = 16, init_std: float | None = None) -> None:
        super().__init__()
        self.excite = Excitation(channels, reduction=reduction, bias=True, init_std=init_std)

    def forward(self, x: Tensor) -> Tensor:
        # amax, not adaptive max pooling: its backward is deterministic on every device.
        z = self.excite(x.mean(dim=(2, 3))) + self.excite(x.amax(dim=(2, 3)))
        return z[:, :, None, None]


class SpatialScore(nn.Module):
    """x (B, C, H, W) -> z (B, 1, H, W). kernel_size: odd, in pixels;  norm: BN after the conv, weight 0 at birth."""

    def __init__(self, *, kernel_size: int = 7, norm: bool = True, planes: str = "max-mean") -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ConfigError(f"attention.kernel_size={kernel_size}: allowed are odd numbers from 1")
        if planes not in ("max-mean", "mean-max"):
            raise ConfigError(f"attention.planes={planes}: allowed are max-mean, mean-max")
        self.planes = planes
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        self.norm: nn.Module = nn.Identity()
        if norm:
            self.norm = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)
            nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)]
        if self.planes == "mean-max":
            pooled.reverse()
        return self.norm(self.conv(torch.cat(pooled, dim=1)))


def cbam(
    channels: int,
    *,
    gate: Callable[[nn.Module], nn.Module],
    reduction: int = 16,
    kernel_size: int = 7,
    norm: bool = True,
    planes: str = "max-mean",
    init_std: float | None = None,
) -> nn.Sequential:
    """The channel gate, then the spatial gate; `gate` wraps a score in the configured mask, the same for both."""
    channel = ChannelScore(channels, reduction=reduction, init_std=init_std)
    spatial = SpatialScore(kernel_size=kernel_size, norm=norm, planes=planes)
    return nn.Sequential(OrderedDict(channel=gate(channel), spatial=gate(spatial)))
