"""PSE and CPSE: a score per channel, by Squeeze-and-Excitation of the block's input; it gates the branch's output.

PSE: z = W2 relu(W1 GAP(u)), u the block's input (B, C_in, H, W), W1 (C_in/r, C_in), W2 (C, C_in/r), no biases.
CPSE: where C_in is not C, u first goes through a 1x1 conv to C channels, BN and ReLU; then an SE of C channels.
Source: ma-xu/SPANet@031320d models/pse_resnet.py, cpse_resnet.py (Xu Ma, UNT, 2019); r = 16.
Not the paper's SE-PRE, which gates the block's input itself: that is attention=se attention.place=pre.
Differs from the authors' code in: linear layers are He normal (there PyTorch's default). CPSE of his ImageNet
file has no BN and ReLU after the 1x1 conv.
"""

from torch import Tensor, nn

from attnlab.attention.excitation import Excitation
from attnlab.layers import conv


class PSE(nn.Module):
    """u (B, C_in, H, W) -> z (B, C, 1, 1). in_channels: C_in, of the block;  reduction: r, of C_in."""

    def __init__(self, channels: int, *, in_channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.excite = Excitation(channels, reduction=reduction, bias=False, in_channels=in_channels)

    def forward(self, u: Tensor) -> Tensor:
        return self.excite(u.mean(dim=(2, 3)))[:, :, None, None]


class CPSE(nn.Module):
    """u (B, C_in, H, W) -> z (B, C, 1, 1). in_channels: C_in, of the block;  reduction: r."""

    def __init__(self, channels: int, *, in_channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.match: nn.Module = nn.Identity()
        if in_channels != channels:
            self.match = nn.Sequential(conv(in_channels, channels), nn.BatchNorm2d(channels), nn.ReLU())
        self.excite = Excitation(channels, reduction=reduction, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        return self.excite(self.match(u).mean(dim=(2, 3)))[:, :, None, None]
