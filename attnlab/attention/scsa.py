"""Spatial and Channel Synergistic Attention: a score per channel and row, one per channel and column, then one per
channel by self-attention between channels.

Four quarters of the channels, kernels k = 3, 5, 7, 9: z_h = GN(conv1d_k(mean over columns)), z_w = GN'(conv1d_k(mean
over rows)), the same depthwise convs for both; x' = x m(z_h) m(z_w).
p = GN(average of x' over windows of s pixels); q, k, v = p times one weight per channel each; z = mean over windows of
softmax(q k^T / sqrt(C / n)) v, in n heads, over channels; y = x' m(z).
Source: Si et al. 2024 (arXiv 2407.05128), section 3; n = 8, s = 7; HZAI-ZJNU/SCSA@8c46866
mmpretrain/models/attentions/SCSA.py.
Differs from the authors' code in: a window is no larger than the map; heads=null makes fewer than 8 heads where a head
would hold under 4 channels. PyTorch's default initialisation, as there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.attention.checks import at_least_1, in_groups
from attnlab.attention.gate import MakeGate
from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError

KERNELS = (3, 5, 7, 9)  # of the quarters, in pixels


class ChannelScore(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1). heads: n;  window: s, in pixels."""

    def __init__(self, channels: int, *, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, at_least_1("window", window)
        self.norm = nn.GroupNorm(1, channels)
        self.query, self.key, self.value = (
            nn.Conv2d(channels, channels, 1, groups=channels, bias=False) for _ in "qkv"
        )

    def forward(self, x: Tensor) -> Tensor:
        size = min(self.window, x.shape[2]), min(self.window, x.shape[3])
        p = self.norm(F.avg_pool2d(x, size, size))
        query, key, value = (
            layer(p).flatten(2).unflatten(1, (self.heads, -1)) for layer in (self.query, self.key, self.value)
        )  # (B, n, C / n, windows)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=query.shape[2] ** -0.5)
        return mixed.flatten(1, 2).mean(dim=2)[:, :, None, None]


class SCSA(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W).

    heads: n, dividing C; None = 8 or fewer;  window: s, in pixels;  gate: makes the three masks.
    Raises ConfigError if 4 does not divide C, and for heads that do not divide it.
    """

    def __init__(self, channels: int, *, gate: MakeGate, heads: int | None = None, window: int = 7) -> None:
        super().__init__()
        if channels % 4:
            raise ConfigError(f"wrong channels for attention=scsa: {channels}; allowed are multiples of 4")
        if heads is not None and (heads < 1 or channels % heads):
            raise ConfigError(wrong_value("attention.heads", heads, f"a divisor of {channels}, the channels here"))
        width = channels // 4
        self.convs = nn.ModuleList(nn.Conv1d(width, width, k, padding=k // 2, groups=width) for k in KERNELS)
        self.rows_norm, self.columns_norm = nn.GroupNorm(4, channels), nn.GroupNorm(4, channels)
        # Both spatial scores share the convs, so these two gates hold the masks only.
        self.rows, self.columns = gate(nn.Identity()), gate(nn.Identity())
        count = heads or in_groups(channels, None, at_most=8)
        self.channel = gate(ChannelScore(channels, heads=count, window=window))

    def forward(self, x: Tensor) -> Tensor:
        z_rows = self.rows_norm(self.convolved(x.mean(dim=3)))[..., None]
        z_columns = self.columns_norm(self.convolved(x.mean(dim=2)))[:, :, None]
        return self.channel(x * self.rows.factor(z_rows, x) * self.columns.factor(z_columns, x))

    def convolved(self, strip: Tensor) -> Tensor:
        """(B, C, length) -> (B, C, length), each quarter of the channels by its kernel."""
        return torch.cat(
            [conv(quarter) for conv, quarter in zip(self.convs, strip.chunk(4, dim=1), strict=True)], dim=1
        )
