"""Split attention of ResNeSt: in place of a 3x3 conv, R convs whose outputs are weighed per channel.

u = relu(BN(conv3x3(x))) in G R groups, R splits of C channels; v = W2 relu(BN(W1 GAP(sum of the splits) + b1)) + b2 in
G groups, max(R C_in / r, 32) hidden channels; a = softmax over the splits of v (R = 1: sigmoid); y = sum_i a_i u_i,
average-pooled 3x3 where the stride is above 1.
Source: Zhang et al. 2020, ResNeSt (arXiv 2004.08955), section 3; R = 2, G = 1, r = 4; zhanghang1989/ResNeSt@1dfb3e8
resnest/torch/models/splat.py, resnest.py (avd: the pooling).
It replaces the conv, its BN and its ReLU. Not a multiplicative gate of its input: it has no mask and no inverse.
Differs from the authors' code in: no DropBlock and no rectified conv. The 3x3 conv is He normal by fan-in (there by
fan-out).
"""

import torch
from torch import Tensor, nn

from attnlab.attention.checks import at_least_1, hidden
from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError
from attnlab.layers import conv

LEAST = 32  # hidden channels


class SplitAttention(nn.Module):
    """x (B, C_in, H, W) -> y (B, C, H / stride, W / stride). In training BN needs two images or more.

    radix: R, the splits;  groups: G, dividing C and the hidden channels, G R dividing C_in;  reduction: r.
    Raises ConfigError for groups that do not divide.
    """

    no_mask = "it replaces a convolution"

    def __init__(
        self,
        channels: int,
        *,
        in_channels: int,
        stride: int,
        radix: int = 2,
        groups: int = 1,
        reduction: int = 4,
    ) -> None:
        super().__init__()
        at_least_1("radix", radix)
        at_least_1("groups", groups)
        inner = hidden(in_channels * radix, reduction, LEAST)
        if in_channels % (groups * radix) or channels % groups or inner % groups:
            allowed = f"G that divides {channels} and {inner}, G * radix dividing {in_channels}; radix={radix} here"
            raise ConfigError(wrong_value("attention.groups", groups, allowed))
        self.radix, self.groups = radix, groups
        self.conv = conv(in_channels, channels * radix, 3, groups=groups * radix)
        self.norm = nn.BatchNorm2d(channels * radix)
        self.reduce = nn.Conv2d(channels, inner, 1, groups=groups)
        self.reduce_norm = nn.BatchNorm2d(inner)
        self.expand = nn.Conv2d(inner, channels * radix, 1, groups=groups)
        self.pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        splits = torch.relu(self.norm(self.conv(x))).unflatten(1, (self.radix, -1))  # (B, R, C, H, W)
        pooled = splits.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        v = self.expand(torch.relu(self.reduce_norm(self.reduce(pooled)))).flatten(1)  # G times R times C / G
        v = v.unflatten(1, (self.groups, self.radix, -1)).transpose(1, 2).flatten(2)  # (B, R, C)
        share = v.softmax(dim=1) if self.radix > 1 else torch.sigmoid(v)
        return self.pool((splits * share[..., None, None].to(splits.dtype)).sum(dim=1))
