"""Pyramid Squeeze Attention of EPSANet: in place of a 3x3 conv, four kernels whose outputs are weighed per channel.

u_i = conv_k(x), k = 3, 5, 7, 9 in 1, 4, 8, 16 groups, C / 4 channels each; a = softmax over i of s(SE(u_i)), s the
sigmoid, one SE for all four; y = relu(BN([a_4 u_4, ..., a_1 u_1])).
Source: Zhang et al. 2021, EPSANet (arXiv 2105.14447), section 3; murufeng/EPSANet@9955041 models/epsanet.py; r = 16.
It replaces the conv, its BN and its ReLU. Not a multiplicative gate of its input: it has no mask and no inverse.
Differs from the authors' code in: fewer groups where these do not divide the channels; SE's layers and the convs are
He normal by fan-in, SE's biases start at zero.
"""

import math

import torch
from torch import Tensor, nn

from attnlab.attention.checks import at_least_1
from attnlab.attention.excitation import Excitation
from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError
from attnlab.layers import conv

KERNELS = {3: 1, 5: 4, 7: 8, 9: 16}  # kernel size, pixels: groups


class PyramidSplit(nn.Module):
    """x (B, C_in, H, W) -> y (B, C, H / stride, W / stride), after a ReLU. In training BN needs two images or more.

    reduction: r of the SE over C / 4 channels, which has one hidden unit at least.
    Raises ConfigError if 4 does not divide C.
    """

    no_mask = "it replaces a convolution"

    def __init__(self, channels: int, *, in_channels: int, stride: int, reduction: int = 16) -> None:
        super().__init__()
        width = channels // len(KERNELS)
        if channels % len(KERNELS):
            raise ConfigError(wrong_value("attention.place", "kernel", f"a place with 4 n channels; {channels} here"))
        self.paths = nn.ModuleList(
            conv(in_channels, width, size, stride, groups=math.gcd(groups, width, in_channels))
            for size, groups in KERNELS.items()
        )
        self.excite = Excitation(width, reduction=min(at_least_1("reduction", reduction), width))
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        features = torch.stack([path(x) for path in self.paths], dim=1)  # (B, 4, C / 4, H, W)
        share = torch.sigmoid(self.excite(features.mean(dim=(3, 4)))).softmax(dim=1)  # (B, 4, C / 4)
        features = features * share[..., None, None].to(features.dtype)
        return torch.relu(self.norm(features.flip(1).flatten(1, 2)))
