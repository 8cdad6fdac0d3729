"""Strip pooling: a score per element from the means of its row and of its column.

z = W relu(BN(conv_3x1(mean over columns)) + BN(conv_1x3(mean over rows))), W a 1x1 conv with bias; the first term is
constant along a row, the second along a column.
Source: Hou et al. 2020 (arXiv 2003.13328), section 3.1; houqb/SPNet@5e97da3 models/resnet.py (SPBlock); it stands after
the 3x3 conv's ReLU.
Differs from the authors' code in: there only some blocks have it. PyTorch's default initialisation, as their module by
itself.
"""

import torch
from torch import Tensor, nn

from attnlab.attention.checks import odd


class StripPooling(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W). kernel_size: along the strips, in pixels, odd."""

    def __init__(self, channels: int, *, kernel_size: int = 3) -> None:
        super().__init__()
        k = odd(kernel_size)
        self.rows = nn.Conv2d(channels, channels, (k, 1), padding=(k // 2, 0), bias=False)
        self.rows_norm = nn.BatchNorm2d(channels)
        self.columns = nn.Conv2d(channels, channels, (1, k), padding=(0, k // 2), bias=False)
        self.columns_norm = nn.BatchNorm2d(channels)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.rows_norm(self.rows(x.mean(dim=3, keepdim=True)))  # (B, C, H, 1)
        columns = self.columns_norm(self.columns(x.mean(dim=2, keepdim=True)))  # (B, C, 1, W)
        return self.mix(torch.relu(rows + columns))
