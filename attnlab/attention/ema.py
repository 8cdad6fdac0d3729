"""Efficient Multi-Scale Attention: in each group of channels a score per position, from two branches that weigh
each other.

Within a group of C / G channels: r, c = s(W [mean over columns; mean over rows]), W a 1x1 conv; a = GN(x r c);
b = conv3x3(x); z = <softmax(mean(a)), b> + <softmax(mean(b)), a>, means over positions, softmax and <,> over channels.
Source: Ouyang et al. 2023 (arXiv 2305.13563), section 3.2; G = 32; YOLOonMe/EMA-attention-module@afc37ec
EMA_attention_module.
Differs from the authors' code in: groups=null makes fewer than 32 groups where a group would hold under 4 channels.
PyTorch's default initialisation of both convs, as there.
"""

import torch
from torch import Tensor, nn

from attnlab.attention.checks import in_groups


def weighted(scores: Tensor, features: Tensor) -> Tensor:
    """softmax over channels of the mean of `scores` over positions, times `features`: (B, C, H, W) -> (B, 1, H, W)."""
    share = scores.mean(dim=(2, 3)).softmax(dim=1)[:, None].to(features.dtype)  # (B, 1, C)
    return (share @ features.flatten(2)).unflatten(2, features.shape[2:])


class EMA(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W), equal within a group. groups: G, dividing C; None = 32 or fewer."""

    def __init__(self, channels: int, *, groups: int | None = None) -> None:
        super().__init__()
        self.groups = in_groups(channels, groups, at_most=32)
        width = channels // self.groups
        self.strips = nn.Conv2d(width, width, 1)
        self.norm = nn.GroupNorm(width, width)
        self.local = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        grouped = x.unflatten(1, (self.groups, -1)).flatten(0, 1)  # (B G, C / G, H, W)
        strips = torch.cat(
            [grouped.mean(dim=3, keepdim=True), grouped.mean(dim=2, keepdim=True).transpose(2, 3)], dim=2
        )
        rows, columns = torch.sigmoid(self.strips(strips)).split(list(x.shape[2:]), dim=2)
        wide = self.norm(grouped * rows * columns.transpose(2, 3))
        local = self.local(grouped)
        z = weighted(wide, local) + weighted(local, wide)  # (B G, 1, H, W)
        return z[:, 0].unflatten(0, (-1, self.groups)).repeat_interleave(x.shape[1] // self.groups, dim=1)
