"""ParNet's block: in place of a 3x3 conv, a 3x3 and a 1x1 conv, and a skip that is gated per channel (SSE).

y = swish(BN(conv3x3(x)) + BN(conv1x1(x)) + n s(W GAP(n))), n = BN(x), W a 1x1 conv without bias.
Where the channels or the size change: y = swish((BN(conv3x3(x)) + BN(conv1x1(pool(x)))) 2 s(W GAP(x))), pool the mean
over 2x2 pixels.
Source: Goyal et al. 2021, Non-deep Networks (arXiv 2110.07641), section 3.1; imankgoyal/NonDeepNetworks@777b286
imagenet/timm/models/simplenet_impl/repvgg.py (RepVGGBlock, se_block).
It replaces the conv, its BN and its ReLU. Not a multiplicative gate of its input: it has no mask and no inverse.
Differs from the authors' code in: on odd maps the pooling rounds up, as the 3x3 conv does (there it fails). All convs
are He normal by fan-in (there PyTorch's default).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.layers import conv


class ParNet(nn.Module):
    """x (B, C_in, H, W) -> y (B, C, H / stride, W / stride). In training BN needs two images or more."""

    no_mask = "it replaces a convolution"

    def __init__(self, channels: int, *, in_channels: int, stride: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(conv(in_channels, channels, 3, stride), nn.BatchNorm2d(channels))
        self.pool = nn.AvgPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.point = nn.Sequential(conv(in_channels, channels), nn.BatchNorm2d(channels))
        self.skips = in_channels == channels and stride == 1
        self.norm = nn.BatchNorm2d(channels) if self.skips else nn.Identity()
        self.gate = conv(in_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.norm(x)
        m = torch.sigmoid(self.gate(skip.mean(dim=(2, 3), keepdim=True)))
        y = self.dense(x) + self.point(self.pool(x))
        return F.silu(y + skip * m if self.skips else y * 2 * m)
