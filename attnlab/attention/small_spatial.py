"""SResNet50's spatial module: a score per position from the mean over channels, 46 parameters.

z = conv3x3(upsample(relu(conv3x3_stride2(relu(conv5x5(mean over channels)))))), all 1 -> 1 channel, with bias.
Source: ma-xu/ResidualAttention@045265c models/s_resnet.py (Xu Ma, UNT, 2019); convs normal with sd sqrt(2) / k,
biases 0.
Differs from the authors' code in: the upsampling goes to the size of x, so odd maps work (there: twice the size).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.layers import conv


class SmallSpatial(nn.Module):
    """x (B, C, H, W) -> z (B, 1, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gather1 = conv(1, 1, 5, bias=True)
        self.gather2 = conv(1, 1, 3, stride=2, bias=True)
        self.excite = conv(1, 1, 3, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        gathered = torch.relu(self.gather2(torch.relu(self.gather1(x.mean(dim=1, keepdim=True)))))
        return self.excite(F.interpolate(gathered, size=x.shape[-2:], mode="nearest"))
