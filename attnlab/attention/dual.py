"""DANet's dual attention: adds to every position a weighted sum over all positions, and one over all channels.

position: a_p v softmax_j(<q_i, k_j>), q and k 1x1 convs to C / r channels, v to C;
channel: a_c softmax_d(-<x_c, x_d>) x, <,> over positions, no layers;  y = x + both; a_p and a_c scalars, initially 0.
Source: Fu et al. 2019, DANet (arXiv 1809.02983), sections 3.2 and 3.3; r = 8; junfu1115/DANet@b0a0fa0
encoding/nn/da_att.py (PAM_Module, CAM_Module).
Not a multiplicative gate: it has no mask and no inverse.
Differs from the authors' code in: there each part adds x, stands between 3x3 convs of its own, and their outputs are
summed; here both parts see the same x, which is added once. The convs keep PyTorch's default initialisation, as there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.attention.checks import hidden
from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError


class Position(nn.Module):
    """x (B, C, H, W) -> what is added to it, (B, C, H, W)."""

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        inner = hidden(channels, reduction)
        self.query, self.key = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.amount = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).flatten(2).transpose(1, 2)[:, None] for layer in (self.query, self.key, self.value)
        )
        gathered = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]
        return self.amount * gathered.transpose(1, 2).unflatten(2, x.shape[2:])


class Channel(nn.Module):
    """x (B, C, H, W) -> what is added to it, (B, C, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        share = (-(flat @ flat.transpose(1, 2))).softmax(dim=2).to(x.dtype)  # (B, C, C)
        return self.amount * (share @ flat).unflatten(2, x.shape[2:])


class Dual(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W).

    reduction: r of the position part;  parts: position, channel, None = both.
    Raises ConfigError for other parts.
    """

    no_mask = "it adds to its input"

    def __init__(self, channels: int, *, reduction: int = 8, parts: str | None = None) -> None:
        super().__init__()
        if parts not in (None, "position", "channel"):
            raise ConfigError(wrong_value("attention.parts", parts, "position, channel, or null (both)"))
        self.parts = nn.ModuleDict()
        if parts != "channel":
            self.parts["position"] = Position(channels, reduction=reduction)
        if parts != "position":
            self.parts["channel"] = Channel()

    def forward(self, x: Tensor) -> Tensor:
        return x + sum(part(x).to(x.dtype) for part in self.parts.values())
