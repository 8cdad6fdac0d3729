"""Global Context block: adds to every position one vector, pooled by attention over the positions.

y = x + W2 relu(LN(W1 c)), c = sum_j softmax_j(<w, x_j>) x_j; W1 (C/r, C), W2 (C, C/r), initially zero.
Source: Cao et al. 2019, GCNet (arXiv 1904.11492), section 4.3; r = 16; xvjiarui/GCNet@029db54
mmdet/ops/gcb/context_block.py (pooling att, fusion channel_add).
Not a multiplicative gate: its mask pools, and has no inverse.
Differs from the authors' code in: w has no bias, which the softmax would cancel; the hidden layer has 4 units at least,
since the LN of a single one is constant and a 16-channel stage would learn nothing. There it stands only in stages c3
to c5 (attention.stages=[2,3,4]).
"""

import torch
from torch import Tensor, nn

from attnlab.attention.checks import hidden
from attnlab.layers import OverPositions

LEAST = 4  # hidden units


class GlobalContext(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W). reduction: r."""

    no_mask = "it adds to its input"

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        inner = hidden(channels, reduction, LEAST)
        self.query = nn.Linear(channels, 1, bias=False)
        self.mask = OverPositions()
        self.reduce = nn.Linear(channels, inner)
        self.norm = nn.LayerNorm(inner)
        self.expand = nn.Linear(inner, channels)
        nn.init.kaiming_normal_(self.query.weight, nonlinearity="relu")
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor) -> Tensor:
        positions = x.flatten(2).transpose(1, 2)  # (B, H W, C)
        z = self.query(positions).transpose(1, 2).unflatten(2, x.shape[2:])
        context = (self.mask(z).flatten(2) @ positions)[:, 0]  # (B, C)
        added = self.expand(torch.relu(self.norm(self.reduce(context))))
        return x + added[:, :, None, None].to(x.dtype)
