"""Spatial Group-wise Enhance: a score per position in each of G groups of channels.

t_i = <mean over positions of x, x_i> within the group; z_i = gamma (t_i - mean(t)) / (sd(t) + 1e-5) + beta, mean and
unbiased sd over the positions; one gamma and beta per group, initially 0 and 1.
Source: Li et al. 2019 (arXiv 1905.09646), section 3; G = 64; implus/PytorchInsight@2864528
classification/models/imagenet/resnet_sge.py.
Differs from the authors' code in: a 1x1 map has z = beta instead of NaN; groups=null makes fewer than 64 groups where a
group would hold under 4 channels.
"""

import torch
from torch import Tensor, nn

from attnlab.attention.checks import in_groups


class SGE(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W), equal within a group. groups: G, dividing C; None = 64 or fewer."""

    def __init__(self, channels: int, *, groups: int | None = None) -> None:
        super().__init__()
        self.groups = in_groups(channels, groups, at_most=64)
        self.weight = nn.Parameter(torch.zeros(self.groups, 1, 1))
        self.bias = nn.Parameter(torch.ones(self.groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        grouped = x.unflatten(1, (self.groups, -1))  # (B, G, C/G, H, W)
        t = (grouped * grouped.mean(dim=(3, 4), keepdim=True)).sum(dim=2)  # (B, G, H, W)
        t = t - t.mean(dim=(2, 3), keepdim=True)
        count = max(t.shape[2] * t.shape[3] - 1, 1)
        # The square root of 0 has no gradient: a map without differences keeps t = 0.
        variance = t.square().sum(dim=(2, 3), keepdim=True) / count
        sd = torch.where(variance > 0, variance, 1).sqrt() * (variance > 0)
        z = t / (sd + 1e-5) * self.weight + self.bias
        return z.repeat_interleave(x.shape[1] // self.groups, dim=1)
