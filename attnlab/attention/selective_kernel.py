"""Selective Kernel: in place of a 3x3 conv, two of different dilation, chosen between per channel.

u_i = relu(BN(conv3x3(x, dilation i, G groups))), i = 1, 2; v = relu(BN(W GAP(u_1 + u_2))), d = max(C / r, 32) channels;
(a_1, a_2) = softmax over the two of (A_1 v, A_2 v), per channel; y = a_1 u_1 + a_2 u_2.
Source: Li et al. 2019 (arXiv 1903.06586), section 3.1; G = 32, r = 16; implus/SKNet@17dd708 models/sknet50.prototxt.
It replaces the conv, its BN and its ReLU. Not a multiplicative gate of its input: it has no mask and no inverse.
Differs from the authors' code in: BN momentum 0.1 (Caffe's 0.95 is 0.05); groups=null makes fewer than 32 groups where
a group would hold under 4 channels.
"""

import torch
from torch import Tensor, nn

from attnlab.attention.checks import hidden, in_groups
from attnlab.layers import conv

LEAST = 32  # d is no smaller: L of the paper


class SelectiveKernel(nn.Module):
    """x (B, C_in, H, W) -> y (B, C, H / stride, W / stride), after a ReLU. In training BN needs two images or more.

    groups: G, dividing C_in and C; None = 32 or fewer;  reduction: r.
    """

    no_mask = "it replaces a convolution"

    def __init__(
        self,
        channels: int,
        *,
        in_channels: int,
        stride: int,
        groups: int | None = None,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        count = in_groups(min(channels, in_channels), groups, at_most=32)
        in_groups(channels, count, at_most=32)
        self.paths = nn.ModuleList()
        for dilation in (1, 2):
            kernel = conv(in_channels, channels, 3, stride, dilation=dilation, groups=count)
            self.paths.append(nn.Sequential(kernel, nn.BatchNorm2d(channels), nn.ReLU()))
        inner = hidden(channels, reduction, LEAST)
        self.reduce = nn.Linear(channels, inner, bias=False)
        self.norm = nn.BatchNorm1d(inner)
        self.select = nn.Linear(inner, 2 * channels, bias=False)
        for layer in (self.reduce, self.select):
            nn.init.normal_(layer.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        near, wide = (path(x) for path in self.paths)
        pooled = (near + wide).mean(dim=(2, 3))
        logits = self.select(torch.relu(self.norm(self.reduce(pooled)))).unflatten(1, (2, -1))  # (B, 2, C)
        share = logits.softmax(dim=1)[..., None, None].to(near.dtype)
        return share[:, 0] * near + share[:, 1] * wide
