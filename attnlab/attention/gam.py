"""Global Attention Mechanism: CBAM's order without pooling; a score per element, twice.

z_channel = MLP over the channels at every position (C -> C / r -> C); then
z_spatial = conv7x7(relu(BN(conv7x7(x)))), C -> C / r -> C channels, followed by a BN, in G groups.
Source: Liu et al. 2021, Global attention mechanism (arXiv 2112.05561), section 3; r = 16 and G = 1 on
ResNet-50, G = 4 in the variant called "gc".
Differs from the authors' code in: it was not read. Channels are not shuffled between groups.
"""

from collections import OrderedDict

from torch import Tensor, nn

from attnlab.attention.checks import hidden, in_groups, odd
from attnlab.attention.excitation import Excitation
from attnlab.attention.gate import MakeGate
from attnlab.layers import conv


class ChannelScore(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W): the same MLP at every position."""

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        self.excite = Excitation(channels, reduction=reduction)

    def forward(self, x: Tensor) -> Tensor:
        return self.excite(x.movedim(1, -1)).movedim(-1, 1)


def gam(channels: int, *, gate: MakeGate, reduction: int = 16, kernel_size: int = 7, groups: int = 1) -> nn.Sequential:
    """The channel gate, then the spatial gate; groups: G, dividing C and C / r."""
    inner, k = hidden(channels, reduction), odd(kernel_size)
    in_groups(inner, in_groups(channels, groups, at_most=1), at_most=1)
    layers: list[nn.Module] = []
    for inputs, outputs in ((channels, inner), (inner, channels)):
        layers += [conv(inputs, outputs, k, groups=groups), nn.BatchNorm2d(outputs), nn.ReLU()]
    spatial = nn.Sequential(*layers[:-1])
    return nn.Sequential(OrderedDict(channel=gate(ChannelScore(channels, reduction=reduction)), spatial=gate(spatial)))
