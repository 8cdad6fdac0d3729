"""The two-layer bottleneck that SE and CBAM share: v (B, C) -> W2 relu(W1 v + b1) + b2, (B, C)."""

import torch
from torch import Tensor, nn

from attnlab.errors import ConfigError


class Excitation(nn.Module):
    """Linear(C, C // r), ReLU, Linear(C // r, C); biases start at zero (Hu et al. 2018, section 3.2)."""

    def __init__(self, channels: int, *, reduction: int, bias: bool, init_std: float | None) -> None:
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ConfigError(f"attention.reduction={reduction}: allowed is 1 to {channels}, the channels it reduces")
        if init_std is not None and init_std < 0:
            raise ConfigError(f"attention.init_std={init_std}: allowed is a number from 0, or null (He normal)")
        self.reduce = nn.Linear(channels, channels // reduction, bias=bias)
        self.expand = nn.Linear(channels // reduction, channels, bias=bias)
        for layer in (self.reduce, self.expand):
            if init_std is None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=init_std)
            if bias:
                nn.init.zeros_(layer.bias)

    def forward(self, v: Tensor) -> Tensor:
        return self.expand(torch.relu(self.reduce(v)))
