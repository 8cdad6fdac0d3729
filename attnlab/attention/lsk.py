"""Large Selective Kernel: a score per element from two depthwise kernels, chosen between per position.

u_1 = dwconv5x5(x), u_2 = dwconv7x7(u_1) dilated by 3; v_i = W_i u_i, C / 2 channels; [a_1, a_2] =
s(conv7x7([mean; max of [v_1, v_2] over channels])); z = W (a_1 v_1 + a_2 v_2); y = x z: the default mask is m = z.
Source: Li et al. 2023, LSKNet (arXiv 2303.09030), section 3.3; zcablii/LSKNet@cbe06ca
mmrotate/models/backbones/lsknet.py (LSKblock).
Differs from the authors' code in: place (there between two 1x1 convs of a block of its own). PyTorch's default
initialisation, as their module by itself (their net: normal by fan-out).
"""

import torch
from torch import Tensor, nn

from attnlab.attention.checks import hidden, odd


class LSK(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W). kernel_size: of the conv that chooses, in pixels, odd."""

    def __init__(self, channels: int, *, kernel_size: int = 7) -> None:
        super().__init__()
        inner = hidden(channels, 2)
        self.near = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.wide = nn.Conv2d(channels, channels, 7, padding=9, dilation=3, groups=channels)
        self.reduce_near, self.reduce_wide = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        self.choose = nn.Conv2d(2, 2, odd(kernel_size), padding=kernel_size // 2)
        self.expand = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = self.near(x)
        near, wide = self.reduce_near(near), self.reduce_wide(self.wide(near))
        both = torch.cat([near, wide], dim=1)
        planes = torch.cat([both.mean(dim=1, keepdim=True), both.amax(dim=1, keepdim=True)], dim=1)
        share = torch.sigmoid(self.choose(planes))
        return self.expand(near * share[:, :1] + wide * share[:, 1:])
