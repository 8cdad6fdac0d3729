"""Normalization-based Attention Module: a score per element, its own batch norm weighted by the norm's weights.

`nam`, channels: z = BN(x) |gamma_c| / sum_k |gamma_k|, one gamma per channel.
`nam_spatial`, pixels: the same with one gamma per position, statistics over images and channels.
The weights |gamma| get no gradient through the quotient, as in the authors' code; gamma learns through the BN.
Source: Liu et al. 2021, NAM (arXiv 2111.12419), section 3; Christian-lyc/NAM@6e8d3e3 MODELS/attention.py; the spatial
half is that of Christian-lyc/NAM@a9c3926, which later commits deleted and no released net calls.
Differs from the authors' code in: nothing known.
"""

from torch import Tensor, nn

from attnlab.errors import ConfigError


def share_of(gamma: Tensor) -> Tensor:
    """|gamma| / sum |gamma|, without a gradient."""
    size = gamma.detach().abs()
    return size / size.sum()


class NAM(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W). In training BN needs two images or more."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) * share_of(self.norm.weight)[:, None, None]


class NAMSpatial(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W). size: H = W of the maps; maps of another size raise ConfigError."""

    def __init__(self, channels: int, *, size: int) -> None:
        super().__init__()
        self.size = size
        self.norm = nn.BatchNorm1d(size * size)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] != (self.size, self.size):
            raise ConfigError(
                f"wrong map for attention=nam_spatial: it has a weight for each pixel of the {self.size}x{self.size} "
                f"map it was built for, the map here is {x.shape[-2]}x{x.shape[-1]}"
            )
        normed = self.norm(x.flatten(2).transpose(1, 2)) * share_of(self.norm.weight)[:, None]  # (B, H W, C)
        return normed.transpose(1, 2).unflatten(2, x.shape[2:])
