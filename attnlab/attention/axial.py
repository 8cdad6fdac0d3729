"""Axial attention of Axial-DeepLab: in place of a 3x3 conv, self-attention along the columns, then along the rows.

Along one axis, per head: q, k, v = BN(W x), q and k of C / 2n channels, v of C / n; a = softmax_j(BN(<q_i, k_j>) +
BN(<q_i, r^q_(j-i)>) + BN(<k_j, r^k_(j-i)>)); y_i = BN(sum_j a_ij v_j) + BN(sum_j a_ij r^v_(j-i)); r learnt vectors, one
for each distance. A ReLU follows the second axis.
Source: Wang et al. 2020 (arXiv 2003.07853), section 3.2; n = 8; csrhddlam/axial-deeplab@79088ed lib/models/axialnet.py.
It replaces the conv, its BN and its ReLU; with a stride, the output is average-pooled. Not a multiplicative gate of its
input: it has no mask and no inverse.
Differs from the authors' code in: fewer heads where 2n does not divide the channels. The table of distances has the
size of the map, as there; smaller maps use its middle (there they fail), larger ones are refused.
"""

import torch
from torch import Tensor, nn

from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError


class AlongRows(nn.Module):
    """x (B, C_in, H, W) -> y (B, C, H, W): self-attention within each row, over W positions.

    heads: n, where 2 n divides C;  size: W at most.
    """

    def __init__(self, in_channels: int, channels: int, *, heads: int, size: int) -> None:
        super().__init__()
        self.heads, self.size, self.width = heads, size, channels // heads
        self.parts = [self.width // 2, self.width // 2, self.width]  # channels of q, k, v in a head
        self.project = nn.Linear(in_channels, 2 * channels, bias=False)
        self.project_norm = nn.BatchNorm1d(2 * channels)
        self.score_norm = nn.BatchNorm2d(3 * heads)
        self.out_norm = nn.BatchNorm1d(2 * channels)
        self.distances = nn.Parameter(torch.randn(2 * self.width, 2 * size - 1) * self.width**-0.5)
        nn.init.normal_(self.project.weight, std=in_channels**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        height, length = x.shape[2:]
        if length > self.size:
            raise ConfigError(
                f"wrong map for attention=axial: it has a weight for each distance in the {self.size}x{self.size} map "
                f"it was built for, the map here is larger: {height}x{length}"
            )
        rows = x.permute(0, 2, 3, 1).flatten(0, 1)  # (B H, W, C_in)
        projected = self.project_norm(self.project(rows).transpose(1, 2)).unflatten(1, (self.heads, -1))
        query, key, value = projected.split(self.parts, dim=2)  # (B H, n, channels, W)
        at = torch.arange(length, device=x.device)
        distances = self.distances[:, at[:, None] - at + self.size - 1]  # [j - i] at [key, query]
        of_query, of_key, of_value = distances.to(value.dtype).split(self.parts, dim=0)
        scores = torch.cat(
            [
                torch.einsum("bgci,bgcj->bgij", query, key),
                torch.einsum("bgci,cij->bgij", query, of_query),
                torch.einsum("bgcj,cji->bgij", key, of_key),
            ],
            dim=1,
        )
        share = self.score_norm(scores).unflatten(1, (3, -1)).sum(dim=1).softmax(dim=3).to(value.dtype)
        summed = torch.einsum("bgij,bgcj->bgci", share, value)
        placed = torch.einsum("bgij,cij->bgci", share, of_value)
        y = self.out_norm(torch.stack([summed, placed], dim=3).flatten(1, 3)).unflatten(1, (-1, 2)).sum(dim=2)
        return y.unflatten(0, (-1, height)).transpose(1, 2)  # (B, C, H, W)


class Axial(nn.Module):
    """x (B, C_in, H, W) -> y (B, C, H / stride, W / stride). size: H = W of the output.

    heads: n, where 2 n divides C; None = 8 or fewer. In training BN needs two images or more.
    Raises ConfigError for heads that do not divide, and for larger maps.
    """

    no_mask = "it replaces a convolution"

    def __init__(self, channels: int, *, in_channels: int, stride: int, size: int, heads: int | None = None) -> None:
        super().__init__()
        if channels % 2 or (heads is not None and (heads < 1 or channels % (2 * heads))):
            allowed = f"an integer n where 2 n divides {channels}, the channels here"
            raise ConfigError(wrong_value("attention.heads", heads, allowed))
        count = heads or max(n for n in range(1, 9) if channels % (2 * n) == 0)
        self.columns = AlongRows(in_channels, channels, heads=count, size=size * stride)
        self.rows = AlongRows(channels, channels, heads=count, size=size * stride)
        self.pool = nn.AvgPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.columns(x.transpose(2, 3)).transpose(2, 3)
        return torch.relu(self.pool(self.rows(y)))
