"""Contextual Transformer (CoT): in place of a 3x3 conv, a static and a dynamic context, weighed per channel.

k = relu(BN(conv3x3(x))), 4 groups, the static context; w = GN(A2 relu(BN(A1 [x, k]))), a 3x3 kernel per position for
each of C / 8 channels; d = swish(BN(w * v)), v = BN(conv1x1(x)), channel c by kernel c mod C / 8, the dynamic context;
a = softmax over the two of W2 relu(BN(W1 GAP(d + k))), max(C / 2, 32) hidden units; y = a_1 d + a_2 k.
Source: Li et al. 2021 (arXiv 2107.12292), section 3.2; JDAI-CV/CoTNet@895e024 models/cotnet.py (CotLayer).
It replaces the conv, its BN and its ReLU; with a stride, x is average-pooled first. Not a multiplicative gate of its
input: it has no mask and no inverse. The products w * v are not convolutions and are not counted among its MACs.
Differs from the authors' code in: where C_in is not C, a 1x1 conv comes first (their block has no such place); C must
be a multiple of 8. PyTorch's default initialisation, as their module by itself.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError
from attnlab.layers import conv

SHARE = 8  # channels with the same kernel
LEAST = 32  # hidden units


def conv_norm(in_channels: int, channels: int, kernel_size: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias and its BN."""
    padding = kernel_size // 2
    convolution = nn.Conv2d(in_channels, channels, kernel_size, padding=padding, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(channels)]


class ContextualTransformer(nn.Module):
    """x (B, C_in, H, W) -> y (B, C, H / stride, W / stride). In training BN needs two images or more.

    Raises ConfigError if 8 does not divide C.
    """

    no_mask = "it replaces a convolution"

    def __init__(self, channels: int, *, in_channels: int, stride: int) -> None:
        super().__init__()
        if channels % SHARE:
            allowed = f"a place with {SHARE} n channels; {channels} here"
            raise ConfigError(wrong_value("attention.place", "kernel", allowed))
        self.pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()
        self.match = conv(in_channels, channels) if in_channels != channels else nn.Identity()
        self.keys = nn.Sequential(*conv_norm(channels, channels, 3, groups=4), nn.ReLU())
        kernels = channels // SHARE
        self.kernels = nn.Sequential(
            *conv_norm(2 * channels, channels // 2),
            nn.ReLU(),
            nn.Conv2d(channels // 2, 9 * kernels, 1),
            nn.GroupNorm(kernels, 9 * kernels),
        )
        self.values = nn.Sequential(*conv_norm(channels, channels))
        self.norm = nn.BatchNorm2d(channels)
        inner = max(channels // 2, LEAST)
        self.select = nn.Sequential(
            nn.Linear(channels, inner), nn.BatchNorm1d(inner), nn.ReLU(), nn.Linear(inner, 2 * channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.match(self.pool(x))
        static = self.keys(x)
        dynamic = F.silu(self.norm(self.convolved(self.values(x), self.kernels(torch.cat([x, static], dim=1)))))
        pooled = (dynamic + static).mean(dim=(2, 3))
        share = self.select(pooled).unflatten(1, (-1, 2)).softmax(dim=2)[..., None, None].to(dynamic.dtype)
        return share[:, :, 0] * dynamic + share[:, :, 1] * static

    def convolved(self, values: Tensor, kernels: Tensor) -> Tensor:
        """Values (B, C, H, W), kernels (B, 9 C / 8, H, W): at each position its own 3x3 kernels -> (B, C, H, W)."""
        kernels = kernels.unflatten(1, (-1, 9))[:, None]  # (B, 1, C / 8, 9, H, W)
        windows = F.unfold(values, 3, padding=1).unflatten(2, values.shape[2:])
        windows = windows.unflatten(1, (SHARE, -1, 9))  # (B, 8, C / 8, 9, H, W)
        return (windows * kernels.to(windows.dtype)).sum(dim=3).flatten(1, 2)
