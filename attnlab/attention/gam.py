"""Global Attention Mechanism: CBAM's order without pooling; a score per element, twice.

z_channel = MLP over the channels at every position (C -> C / r -> C); then
z_spatial = [BN] conv7x7(relu([BN] conv7x7(x))), C -> C / r -> C channels, both convs in G groups, without bias.
Source: Liu et al. 2021, Global attention mechanism (arXiv 2112.05561), section 3 and figures 2 and 3; no code of its
authors is known. r = 16 ("same as BAM") and G = 1, G = 4 in the variant called "gc". Figure 3 shows only two convs;
the paper does not write what stands between them.
`gam_liu2021` (norm=hidden): BN and ReLU between the convs. It has all seven parameter counts that the paper prints of
ResNets in tables 1 to 3; so would a bias of the first conv, instead of that BN or beside it. Figure 3 as it is drawn
(norm=none) has six: its gc is 57.04 M where 57.05 is printed.
`gam` (norm=null): a second BN after the second conv, as in the copies in circulation (northBeggar/Plug-and-Play);
30,208 weights on ResNet-50 that the paper does not count.
Differs from the paper in: channels are not shuffled between groups (it does not say where). Differs from those copies
in: their convs have biases; northBeggar's has no sigmoid on the channel branch, which figure 2 shows.
"""

from collections import OrderedDict

from torch import Tensor, nn

from attnlab.attention.checks import hidden, in_groups, odd
from attnlab.attention.excitation import Excitation
from attnlab.attention.gate import MakeGate
from attnlab.errors import ConfigError
from attnlab.layers import conv

#: attention.norm -> a BN after the first conv, after the second
NORMS = {None: (True, True), "hidden": (True, False), "none": (False, False)}


class ChannelScore(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W): the same MLP at every position."""

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        self.excite = Excitation(channels, reduction=reduction)

    def forward(self, x: Tensor) -> Tensor:
        return self.excite(x.movedim(1, -1)).movedim(-1, 1)


def gam(
    channels: int,
    *,
    gate: MakeGate,
    reduction: int = 16,
    kernel_size: int = 7,
    groups: int = 1,
    norm: str | None = None,
) -> nn.Sequential:
    """The channel gate, then the spatial gate.

    groups: G, dividing C and C / r;  norm: which convs a BN follows: None = both, hidden = the first, none.
    Raises ConfigError for groups that do not divide, and for another norm.
    """
    if norm not in NORMS:
        raise ConfigError(f"wrong value attention.norm={norm}; allowed are hidden, none, null (after both convs)")
    inner, k = hidden(channels, reduction), odd(kernel_size)
    in_groups(inner, in_groups(channels, groups, at_most=1), at_most=1)
    layers: list[nn.Module] = []
    for inputs, outputs, normed in zip((channels, inner), (inner, channels), NORMS[norm], strict=True):
        layers += [conv(inputs, outputs, k, groups=groups), *([nn.BatchNorm2d(outputs)] if normed else []), nn.ReLU()]
    spatial = nn.Sequential(*layers[:-1])
    return nn.Sequential(OrderedDict(channel=gate(ChannelScore(channels, reduction=reduction)), spatial=gate(spatial)))
