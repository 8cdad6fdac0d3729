"""DCANet's connection: a score per channel; SE that also sees what the previous block's SE attended to.

a = GAP(x) in the first block, relu(LN(conv1x1([GAP(x); p]))) in the others, p the previous block's p' = GAP(x) s(z),
brought to C channels by relu(LN(linear)) where they differ; the conv weighs the two vectors with two scalars and
a bias; z = W2 relu(W1 a + b1) + b2.
Source: Ma et al. 2020, DCANet (arXiv 2007.05099); ma-xu/DCANet@29c0792 models/resnet/resnet_se_dca.py; r = 16.
Differs from the authors' code in: the layers of W are He normal, their biases zero (there PyTorch's default); the 1x1
conv keeps PyTorch's default (there by fan-out); p' takes s(z) whatever the mask. There the first block has a conv and
an LN that it never uses; here it has none.
"""

import torch
from torch import Tensor, nn

from attnlab.attention.excitation import Excitation


class DCASE(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1).

    previous: the score of the block before, which keeps its attended vector until this one takes it.
    """

    def __init__(self, channels: int, *, previous: "DCASE | None" = None, reduction: int = 16) -> None:
        super().__init__()
        self.channels = channels
        self.followed = False
        self.attended: Tensor | None = None
        self.before = (previous,)  # in a tuple: the previous score is not a part of this one
        self.match: nn.Module = nn.Identity()
        if previous is not None:
            previous.followed = True
            self.weigh = nn.Linear(2, 1)
            self.norm = nn.LayerNorm(channels)
            if previous.channels != channels:
                self.match = nn.Sequential(nn.Linear(previous.channels, channels), nn.LayerNorm(channels), nn.ReLU())
        self.excite = Excitation(channels, reduction=reduction)

    def take(self) -> Tensor:
        """The vector p' (B, C) of the forward pass that is under way."""
        attended, self.attended = self.attended, None
        if attended is None:
            raise RuntimeError("the previous block's attention has not run")
        return attended

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(dim=(2, 3))
        a = pooled
        previous = self.before[0]
        if previous is not None:
            both = torch.stack([pooled, self.match(previous.take()).to(pooled.dtype)], dim=-1)  # (B, C, 2)
            a = torch.relu(self.norm(self.weigh(both)[..., 0]))
        z = self.excite(a)
        if self.followed:
            self.attended = pooled * torch.sigmoid(z)
        return z[:, :, None, None]
