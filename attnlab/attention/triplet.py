"""Triplet attention: the mean of three gates, one for each pair of the axes channel, height, width.

y = (x m_hw + x m_cw + x m_hc) / 3; each z = BN(conv_kxk([max; mean over the third axis])), no bias.
Source: Misra et al. 2021 (arXiv 2010.03045), section 3; k = 7, BN momentum 0.01; landskape-ai/triplet-attention@2cf02fb
triplet_attention.py. As in its ResNets the BN weight of the h-w gate starts at 0, the others' at 1.
Differs from the authors' code in: convs are He normal by fan-in (there by fan-out).
"""

from torch import Tensor, nn

from attnlab.attention.cbam import SpatialScore
from attnlab.attention.gate import MakeGate

AXES = {"hw": 1, "cw": 2, "hc": 3}  # the axis that is pooled, of (B, C, H, W)


class Rotated(nn.Module):
    """The spatial score of x with another axis in the place of the channels; that axis of z has size 1."""

    def __init__(self, score: SpatialScore, axis: int) -> None:
        super().__init__()
        self.score, self.axis = score, axis

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x.transpose(1, self.axis)).transpose(1, self.axis)


class Triplet(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W). kernel_size: k, odd;  gate: wraps each score in the configured mask."""

    def __init__(self, channels: int, *, gate: MakeGate, kernel_size: int = 7) -> None:
        super().__init__()
        self.gates = nn.ModuleDict(
            {
                name: gate(Rotated(SpatialScore(kernel_size=kernel_size, norm_weight=float(name != "hw")), axis))
                for name, axis in AXES.items()
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        hw, cw, hc = (self.gates[name](x) for name in AXES)
        return (hw + cw + hc) / 3
