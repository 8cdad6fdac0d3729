"""An attention that starts as the identity: y = x + a (f(x) - x), with one learnt scalar a per module, initially 0.

A trained net to which attention is added then starts from what it has learnt. At a = 1, y is f(x).
Source: the scalar is that of Bachlechner et al. 2020, ReZero (arXiv 2003.04887).
"""

import torch
from torch import Tensor, nn


class Eased(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W); initially y = x."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.amount = nn.Parameter(torch.zeros(()))
        self.takes_input = bool(getattr(module, "takes_input", False))

    def forward(self, x: Tensor, block_input: Tensor | None = None) -> Tensor:
        y = self.module(x, block_input) if self.takes_input else self.module(x)
        return x + self.amount.to(x.dtype) * (y - x)
