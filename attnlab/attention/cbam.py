"""Convolutional Block Attention Module: a score per channel, then a score per position.

z_channel = MLP(mean over space) + MLP(max over space), one shared MLP;
z_spatial = [BN] conv_kxk([max over channels; mean over channels]).
Source: Woo et al. 2018 (arXiv 1807.06521), section 3; k = 7, r = 16; channel first, then spatial. Squeezes: table 1,
planes: table 2 (`conv`: a 1x1 convolution instead of the two pooled planes), order: table 3. `added` is what the paper
calls parallel (section 4.1): y = x m(z_channel + z_spatial), both scores of x; `parallel` is our own, the product of
both masks of x.
`cbam` is the official code, Jongchan/attention-module@459efad MODELS/cbam.py: a BN follows the spatial conv, its
weight starts at 0, so the spatial mask starts at 0.5. `cbam_laakom2021` is firasl/inverse_attention@8c9a08c: no BN,
r = 8, planes in the order [mean; max], MLP kernels N(0, 0.01).
Differs from the authors' code in: the channel MLP and the spatial conv are He normal by fan-in (there: PyTorch's
default, and fan-out). The paper's formula has the planes in the order [mean; max], the code [max; mean].
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from attnlab.attention.checks import odd
from attnlab.attention.excitation import Excitation
from attnlab.attention.gate import MakeGate
from attnlab.errors import ConfigError
from attnlab.layers import Max, MaxMeanOverChannels, Mean, MeanMax, conv

ORDERS = ("channel-spatial", "spatial-channel", "parallel", "added", "channel", "spatial")
SQUEEZES: dict[str | None, type[nn.Module]] = {None: MeanMax, "avg": Mean, "max": Max}
PLANES = ("max-mean", "mean-max", "conv")


class ChannelScore(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1). squeeze: avg or max, None = the sum of the scores of both."""

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        init_std: float | None = None,
        squeeze: str | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if squeeze not in SQUEEZES:
            raise ConfigError(f"wrong value attention.squeeze={squeeze}; allowed are avg, max, null (both)")
        self.squeeze = SQUEEZES[squeeze]()
        self.excite = Excitation(channels, reduction=reduction, bias=bias, init_std=init_std)

    def forward(self, x: Tensor) -> Tensor:
        return self.from_squeezed(self.squeeze(x))

    def from_squeezed(self, v: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """One vector (B, C), or mean and maximum -> z (B, C, 1, 1)."""
        z = self.excite(v) if isinstance(v, Tensor) else self.excite(v[0]) + self.excite(v[1])
        return z[:, :, None, None]


class SpatialScore(nn.Module):
    """x (B, C, H, W) -> z (B, 1, H, W).

    channels: C, needed only for planes=conv;  kernel_size: odd, in pixels;  norm: whether a BN follows the conv;
    norm_weight: initial weight of the BN;  planes: max-mean, mean-max, conv.
    Raises ConfigError for other planes and for an even kernel.
    """

    def __init__(
        self,
        channels: int | None = None,
        *,
        kernel_size: int = 7,
        norm: bool = True,
        norm_weight: float = 0.0,
        planes: str = "max-mean",
    ) -> None:
        super().__init__()
        if planes not in PLANES:
            raise ConfigError(f"wrong value attention.planes={planes}; allowed are {', '.join(PLANES)}")
        self.planes = planes
        if planes == "conv":
            self.pool = conv(channels or 1, 1)
        else:
            self.squeeze = MaxMeanOverChannels()
        self.conv = conv(1 if planes == "conv" else 2, 1, odd(kernel_size))
        self.norm: nn.Module = nn.Identity()
        if norm:
            self.norm = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)
            nn.init.constant_(self.norm.weight, norm_weight)

    def forward(self, x: Tensor) -> Tensor:
        if self.planes == "conv":
            return self.norm(self.conv(self.pool(x)))
        return self.from_squeezed(self.squeeze(x))

    def from_squeezed(self, v: tuple[Tensor, Tensor]) -> Tensor:
        """Maximum and mean over channels, (B, 1, H, W) each -> z (B, 1, H, W)."""
        planes = v if self.planes == "max-mean" else v[::-1]
        return self.norm(self.conv(torch.cat(planes, dim=1)))


class Parallel(nn.Module):
    """y = x m_channel(x) m_spatial(x): the second gate scores x, not the output of the first."""

    def __init__(self, channel: nn.Module, spatial: nn.Module) -> None:
        super().__init__()
        self.channel, self.spatial = channel, spatial

    def forward(self, x: Tensor) -> Tensor:
        return self.spatial(self.channel(x), x)


class Added(nn.Module):
    """x (B, C, H, W) -> z_channel + z_spatial, (B, C, H, W), the score of one mask."""

    def __init__(self, channel: nn.Module, spatial: nn.Module) -> None:
        super().__init__()
        self.channel, self.spatial = channel, spatial

    def forward(self, x: Tensor) -> Tensor:
        return self.channel(x) + self.spatial(x)


def cbam(
    channels: int,
    *,
    gate: MakeGate,
    reduction: int = 16,
    kernel_size: int = 7,
    norm: bool = True,
    planes: str = "max-mean",
    init_std: float | None = None,
    squeeze: str | None = None,
    bias: bool | None = None,
    order: str | None = None,
    norm_weight: float | None = None,
) -> nn.Module:
    """The channel gate, then the spatial gate. gate: wraps a score in the configured mask, the same for both.

    squeeze: of the channel score, avg or max, None = both;  bias: whether its MLP has one, None = true;
    order: channel-spatial (None), spatial-channel, parallel, added, or a single gate: channel, spatial;
    norm_weight: initial weight of the BN, None = 0.
    Raises ConfigError for another order.
    """
    order = order or "channel-spatial"
    if order not in ORDERS:
        raise ConfigError(f"wrong value attention.order={order}; allowed are {', '.join(ORDERS)}")
    scores: OrderedDict[str, nn.Module] = OrderedDict()
    if order != "spatial":
        scores["channel"] = ChannelScore(
            channels, reduction=reduction, init_std=init_std, squeeze=squeeze, bias=bias is not False
        )
    if order != "channel":
        weight = norm_weight or 0.0
        scores["spatial"] = SpatialScore(
            channels, kernel_size=kernel_size, norm=norm, norm_weight=weight, planes=planes
        )
    if order == "added":
        return gate(Added(**scores))
    gates: OrderedDict[str, nn.Module] = OrderedDict((name, gate(score)) for name, score in scores.items())
    if order == "parallel":
        return Parallel(**gates)
    if order == "spatial-channel":
        gates.move_to_end("channel")
    return nn.Sequential(gates)
