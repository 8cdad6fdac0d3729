"""External Attention: positions attend to k learnt memory units instead of to each other.

a = softmax over positions of M_k W x, then a / sum over units of a; y = relu(x + BN(W' M_v a)); W and W' 1x1 convs,
M_k (k, C) and M_v (C, k) the memories, which begin equal.
Source: Guo et al. 2021 (arXiv 2105.02358), section 3.2; k = 64; MenghaoGuo/EANet@59c03cb model_torch.py.
Not a multiplicative gate: it has no mask and no inverse. It ends in a ReLU, so it belongs where the features are
positive, e.g. between stages.
Differs from the authors' code in: there M_v is a view of M_k until the net is moved to a GPU; here the two are separate
parameters from the start.
"""

import torch
from torch import Tensor, nn

from attnlab.attention.checks import at_least_1
from attnlab.layers import conv


class External(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W), at least 0. units: k. In training BN needs two images or more."""

    no_mask = "it adds to its input"

    def __init__(self, channels: int, *, units: int = 64) -> None:
        super().__init__()
        self.enter = conv(channels, channels, bias=True, init="fan_out")
        self.keys = nn.Linear(channels, at_least_1("units", units), bias=False)
        self.values = nn.Linear(units, channels, bias=False)
        nn.init.normal_(self.keys.weight, std=(2 / channels) ** 0.5)
        with torch.no_grad():
            self.values.weight.copy_(self.keys.weight.T)
        self.leave = conv(channels, channels, init="fan_out")
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        positions = self.enter(x).flatten(2).transpose(1, 2)  # (B, H W, C)
        share = self.keys(positions).softmax(dim=1)  # (B, H W, k)
        share = share / (1e-9 + share.sum(dim=2, keepdim=True))
        read = self.values(share).transpose(1, 2).unflatten(2, x.shape[2:])
        return torch.relu(x + self.norm(self.leave(read)).to(x.dtype))
