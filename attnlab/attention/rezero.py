"""An attention that begins as identity: y = x + a (f(x) - x), one learnt scalar a a module, 0 at birth.

So that a trained net to which attention is added starts from what it has learnt. The scalar is that of Bachlechner et
al. 2020, ReZero (arXiv 2003.04887), around any attention f; at a = 1 it is f itself.
"""

import torch
from torch import Tensor, nn


class Eased(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W), x itself at birth."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.amount = nn.Parameter(torch.zeros(()))
        self.takes_input = bool(getattr(module, "takes_input", False))

    def forward(self, x: Tensor, block_input: Tensor | None = None) -> Tensor:
        y = self.module(x, block_input) if self.takes_input else self.module(x)
        return x + self.amount.to(x.dtype) * (y - x)
