"""Bottleneck Attention Module: one score from a channel branch and a dilated spatial branch, between stages.

`bam`, the paper: z = M_c + M_s, M_c = BN(W1 relu(W0 GAP(x) + b0) + b1), M_s = BN(f_1x1(f_3x3(f_3x3(f_1x1(x))))), the
3x3 convs dilated by d; y = x * (1 + s(z)).
`bam_official`, the code: z = M_c * M_s; M_c has its BN and ReLU between the two layers, M_s a BN and ReLU after each
conv but the last.
`bams`: only M_s of the official code (ma-xu/ResidualAttention@045265c models/bams_resnet.py).
Source: Park et al. 2018 (arXiv 1807.06514), its formulas as others quote them; Jongchan/attention-module@459efad
MODELS/bam.py; r = 16, d = 4 are that code's.
Differs from the authors' code in: `bam` follows the paper, whose formula for M_s names no non-linearity between the
convs; here it is ReLU. The official channel pooling is right only for square maps, here for all. Linear layers are He
normal by fan-in (there PyTorch's default).
"""

from functools import partial

import torch
from torch import Tensor, nn

from attnlab.attention.checks import at_least_1, hidden
from attnlab.attention.excitation import Excitation
from attnlab.layers import conv

biased = partial(conv, bias=True, init="fan_out")


class BAM(nn.Module):
    """x (B, C, H, W) -> z = M_c + M_s, (B, C, H, W). In training BN needs two images or more."""

    def __init__(self, channels: int, *, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__()
        inner = hidden(channels, reduction)
        at_least_1("dilation", dilation)
        self.excite = Excitation(channels, reduction=reduction)
        self.channel_norm = nn.BatchNorm1d(channels)
        self.spatial = nn.Sequential(
            biased(channels, inner),
            nn.ReLU(),
            biased(inner, inner, 3, dilation=dilation),
            nn.ReLU(),
            biased(inner, inner, 3, dilation=dilation),
            nn.ReLU(),
            biased(inner, 1),
            nn.BatchNorm2d(1),
        )

    def forward(self, x: Tensor) -> Tensor:
        channel = self.channel_norm(self.excite(x.mean(dim=(2, 3))))
        return channel[:, :, None, None] + self.spatial(x)


class SpatialLogit(nn.Sequential):
    """x (B, C, H, W) -> M_s (B, 1, H, W) of the official code."""

    def __init__(self, channels: int, *, reduction: int = 16, dilation: int = 4) -> None:
        inner = hidden(channels, reduction)
        at_least_1("dilation", dilation)
        layers: list[nn.Module] = [biased(channels, inner), nn.BatchNorm2d(inner), nn.ReLU()]
        for _ in range(2):
            layers += [biased(inner, inner, 3, dilation=dilation), nn.BatchNorm2d(inner), nn.ReLU()]
        super().__init__(*layers, biased(inner, 1))


class BAMOfficial(nn.Module):
    """x (B, C, H, W) -> z = M_c * M_s, (B, C, H, W). In training BN needs two images or more."""

    def __init__(self, channels: int, *, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__()
        self.excite = Excitation(channels, reduction=reduction)
        self.channel_norm = nn.BatchNorm1d(hidden(channels, reduction))
        self.spatial = SpatialLogit(channels, reduction=reduction, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.channel_norm(self.excite.reduce(x.mean(dim=(2, 3))))
        channel = self.excite.expand(torch.relu(squeezed))
        return channel[:, :, None, None] * self.spatial(x)
