"""Effective Squeeze-and-Excitation: SE with one layer, which keeps all channels.

z = W GAP(x) + b, W (C, C); the default mask is the hard sigmoid, min(max(z + 3, 0), 6) / 6.
Source: Lee and Park 2020, CenterMask (arXiv 1911.06667), section 3.4; youngwanLEE/vovnet-detectron2@b81c813
vovnet/vovnet.py (eSEModule).
Differs from the authors' code in: place (there after the 1x1 conv that joins the layers of a VoVNet block). PyTorch's
default initialisation, as their module by itself.
"""

from torch import Tensor, nn

from attnlab.layers import Mean


class ESE(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1). bias: whether the layer has one."""

    def __init__(self, channels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.squeeze = Mean()
        self.excite = nn.Linear(channels, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.from_squeezed(self.squeeze(x))

    def from_squeezed(self, v: Tensor) -> Tensor:
        """v (B, C) -> z (B, C, 1, 1)."""
        return self.excite(v)[:, :, None, None]
