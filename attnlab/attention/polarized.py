"""Polarized Self-Attention: a score per channel and a score per position, each pooled over the other axis by softmax.

z_channel = U (W_v x softmax(w_q x)), softmax over positions, W_v to C / 2 channels, U back to C: one layer where
parallel; two, with LN and ReLU between them and C / 8 units, where sequential.
z_spatial = <GAP(V_q x), softmax(V_v x)> where sequential, softmax(<GAP(V_q x), V_v x>) where parallel; V to C / 2
channels, softmax over positions.
parallel: y = x m(z_channel) + x m(z_spatial);  sequential: the channel gate, then the spatial gate.
Source: Liu et al. 2021 (arXiv 2107.00782), section 3; DeLightCMU/PSA@20e307a semantic-segmentation/network/PSA.py.
Differs from the authors' code in: the hidden layer of the sequential form has 4 units at least, since the LN of one or
two units is nearly constant. V_q is applied to the mean instead of before it, which is equal.
"""

from collections import OrderedDict

from torch import Tensor, nn

from attnlab.attention.checks import hidden
from attnlab.attention.gate import MakeGate
from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError
from attnlab.layers import conv

ORDERS = ("parallel", "sequential")
LEAST = 4  # hidden units


class ChannelScore(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1). two_layers: whether U has a hidden layer."""

    def __init__(self, channels: int, *, two_layers: bool) -> None:
        super().__init__()
        inner = hidden(channels, 2)
        self.query, self.value = conv(channels, 1), conv(channels, inner)
        if two_layers:
            units = hidden(inner, 4, LEAST)
            layers = [nn.Linear(inner, units), nn.LayerNorm(units), nn.ReLU(), nn.Linear(units, channels)]
            self.expand: nn.Module = nn.Sequential(*layers)
        else:
            self.expand = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        values = self.value(x).flatten(2)  # (B, C / 2, H W)
        share = self.query(x).flatten(2).softmax(dim=2).to(values.dtype)  # (B, 1, H W)
        pooled = (values @ share.transpose(1, 2))[..., 0]
        return self.expand(pooled)[:, :, None, None]


class SpatialScore(nn.Module):
    """x (B, C, H, W) -> z (B, 1, H, W). softmax_first: whether the softmax is taken of each value map."""

    def __init__(self, channels: int, *, softmax_first: bool) -> None:
        super().__init__()
        inner = hidden(channels, 2)
        self.query, self.value = conv(channels, inner), conv(channels, inner)
        self.softmax_first = softmax_first

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x.mean(dim=(2, 3), keepdim=True)).flatten(2).transpose(1, 2)  # (B, 1, C / 2)
        values = self.value(x).flatten(2)  # (B, C / 2, H W)
        z = query @ values.softmax(dim=2).to(query.dtype) if self.softmax_first else (query @ values).softmax(dim=2)
        return z.unflatten(2, x.shape[2:])


class Parallel(nn.Module):
    """y = x m_channel + x m_spatial, both gates of x."""

    def __init__(self, channel: nn.Module, spatial: nn.Module) -> None:
        super().__init__()
        self.channel, self.spatial = channel, spatial

    def forward(self, x: Tensor) -> Tensor:
        return self.channel(x) + self.spatial(x)


def polarized(channels: int, *, gate: MakeGate, order: str) -> nn.Module:
    """Both gates. order: parallel, sequential. Raises ConfigError for another order."""
    if order not in ORDERS:
        raise ConfigError(wrong_value("attention.order", order, " or ".join(ORDERS)))
    sequential = order == "sequential"
    gates: OrderedDict[str, nn.Module] = OrderedDict(
        channel=gate(ChannelScore(channels, two_layers=sequential)),
        spatial=gate(SpatialScore(channels, softmax_first=sequential)),
    )
    return nn.Sequential(gates) if sequential else Parallel(**gates)
