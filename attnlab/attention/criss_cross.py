"""Criss-Cross Attention: adds to every position a weighted sum over its row and its column; applied R times.

x <- x + a sum_{j in the row or column of i} softmax_j(<q_i, k_j>) v_j; q and k 1x1 convs to C / r channels, v to C;
a a scalar, initially 0. The position itself is counted once. After R = 2 every position has seen all others.
Source: Huang et al. 2019, CCNet (arXiv 1811.11721), section 3; R = 2, r = 8; speedinghzl/CCNet@1fae6c6
cc_attention/functions.py.
Not a multiplicative gate: it has no mask and no inverse.
Differs from the authors' code in: there convs of its own stand before and after it. PyTorch's default initialisation
of the convs, as there.
"""

import torch
from torch import Tensor, nn

from attnlab.attention.checks import at_least_1, hidden


class CrissCross(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W). reduction: r;  recurrence: R, how often the same layers are applied."""

    no_mask = "it adds to its input"

    def __init__(self, channels: int, *, reduction: int = 8, recurrence: int = 2) -> None:
        super().__init__()
        inner = hidden(channels, reduction)
        self.recurrence = at_least_1("recurrence", recurrence)
        self.query, self.key = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.amount = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.recurrence):
            x = x + (self.amount * self.gathered(x)).to(x.dtype)
        return x

    def gathered(self, x: Tensor) -> Tensor:
        """The weighted sum for every position, (B, C, H, W)."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        height, width = x.shape[2:]
        in_column = torch.einsum("bchw,bcgw->bhwg", query, key)
        itself = torch.eye(height, dtype=torch.bool, device=x.device)[:, None]  # counted in the row
        in_row = torch.einsum("bchw,bchg->bhwg", query, key)
        scores = torch.cat([in_column.masked_fill(itself, float("-inf")), in_row], dim=3)
        of_column, of_row = scores.softmax(dim=3).to(value.dtype).split([height, width], dim=3)
        return torch.einsum("bhwg,bcgw->bchw", of_column, value) + torch.einsum("bhwg,bchg->bchw", of_row, value)
