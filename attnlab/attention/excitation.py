"""The two-layer bottleneck that SE, CBAM and others share: v (..., C) -> W2 relu(W1 v + b1) + b2, (..., C)."""

import torch
from torch import Tensor, nn

from attnlab.attention.checks import hidden
from attnlab.errors import ConfigError


class Excitation(nn.Module):
    """Linear(C_in, C_in / r), ReLU, Linear(C_in / r, C), as in Hu et al. 2018, section 3.2; biases start at zero.

    in_channels: C_in, null = C;  C_in / r is rounded down.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int,
        bias: bool = True,
        init_std: float | None = None,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        if init_std is not None and init_std < 0:
            raise ConfigError(
                f"wrong value attention.init_std={init_std}; allowed is a number from 0, or null (He normal)"
            )
        inner = hidden(in_channels or channels, reduction)
        self.reduce = nn.Linear(in_channels or channels, inner, bias=bias)
        self.expand = nn.Linear(inner, channels, bias=bias)
        for layer in (self.reduce, self.expand):
            if init_std is None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=init_std)
            if bias:
                nn.init.zeros_(layer.bias)

    def forward(self, v: Tensor) -> Tensor:
        return self.expand(torch.relu(self.reduce(v)))
