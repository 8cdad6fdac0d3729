"""Shuffle Attention: channel and spatial gates on the two halves of each group of channels, then a channel shuffle.

Per group, with x = [a, b]: z_a = w1 GAP(a) + b1 per channel, z_b = w2 GN(b) + b2 per element; y = shuffle(x m(z)),
which interleaves the first C / 2 channels with the others. w1, b1, w2, b2 have one entry per channel of a half and are
shared by all groups; initially w = 0 and b = 1.
Source: Zhang and Yang 2021 (arXiv 2102.00240), section 3; G = 64; wofmanaf/SA-Net@00a6760 models/sa_resnet.py.
Differs from the authors' code in: groups=null makes fewer than 64 groups where a group would hold under 4 channels.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from attnlab.attention.gate import MakeGate
from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError


class HalvesScore(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W): of each group, the first half is scored per channel, the second per element."""

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        self.groups, half = groups, channels // (2 * groups)
        self.channel_weight = nn.Parameter(torch.zeros(half, 1, 1))
        self.channel_bias = nn.Parameter(torch.ones(half, 1, 1))
        self.spatial_weight = nn.Parameter(torch.zeros(half, 1, 1))
        self.spatial_bias = nn.Parameter(torch.ones(half, 1, 1))
        self.norm = nn.GroupNorm(half, half)

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.unflatten(1, (self.groups, -1)).flatten(0, 1).chunk(2, dim=1)  # (B G, C / 2G, H, W) each
        z_a = self.channel_weight * a.mean(dim=(2, 3), keepdim=True) + self.channel_bias
        z_b = self.spatial_weight * self.norm(b) + self.spatial_bias
        return torch.cat([z_a.expand_as(z_b), z_b], dim=1).unflatten(0, (-1, self.groups)).flatten(1, 2)


class Shuffle(nn.Module):
    """x (B, C, H, W) -> the same channels, the first half interleaved with the second."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


def shuffle_attention(channels: int, *, gate: MakeGate, groups: int | None = None) -> nn.Sequential:
    """The gate, then the shuffle. groups: G, where 2 G divides C; None = 64 or fewer.

    Raises ConfigError for odd C, and for G where 2 G does not divide C.
    """
    if channels % 2:
        raise ConfigError(f"wrong channels for attention=shuffle_attention: {channels}; allowed are even numbers")
    possible = [g for g in range(1, channels // 2 + 1) if channels % (2 * g) == 0]
    if groups is not None and groups not in possible:
        allowed = f"one of {', '.join(map(str, possible))}: 2 G divides {channels}, the channels here"
        raise ConfigError(wrong_value("attention.groups", groups, allowed))
    count = groups or max(g for g in possible if g == 1 or (g <= 64 and channels // g >= 4))
    score = HalvesScore(channels, groups=count)
    return nn.Sequential(OrderedDict(gate=gate(score), shuffle=Shuffle()))
