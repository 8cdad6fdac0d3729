"""Efficient Channel Attention: a score per channel from its neighbours along the channel axis.

z = conv1d_k(GAP(x)), zero-padded, no bias; k = |log2(C)/gamma + b/gamma| rounded to odd, gamma = 2, b = 1.
Source: Wang et al. 2020 (arXiv 1910.03151), section 3.2 and equation 12. `eca_official` is BangguWu/ECANet@b332f6b
models/eca_module.py, where k is an argument, 3 by default.
Differs from the authors' code in: their released ResNet-50 has k = 3, 5, 5, 7 by stage, which is neither of the two:
80 weights, where `eca` has 86, `eca_official` 48, and SimAM's paper counts 88. PyTorch's default initialisation of the
conv1d, as there.
"""

import math

from torch import Tensor, nn

from attnlab.attention.checks import odd
from attnlab.layers import Mean


def adaptive_kernel_size(channels: int) -> int:
    """k of equation 12: 3 for 16 to 64 channels, 5 to 1024, 7 for 2048."""
    k = int(abs(math.log2(channels) / 2 + 1 / 2))
    return k if k % 2 else k + 1


class ECA(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1). kernel_size: k, in channels, None = adaptive."""

    def __init__(self, channels: int, *, kernel_size: int | None = None) -> None:
        super().__init__()
        self.squeeze = Mean()
        k = adaptive_kernel_size(channels) if kernel_size is None else odd(kernel_size)
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.from_squeezed(self.squeeze(x))

    def from_squeezed(self, v: Tensor) -> Tensor:
        """v (B, C) -> z (B, C, 1, 1)."""
        return self.conv(v[:, None])[:, 0, :, None, None]
