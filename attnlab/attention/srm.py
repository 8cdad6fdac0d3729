"""Style-based Recalibration Module: a score per channel from the mean and the standard deviation of its map.

z = BN(w_mean * mean + w_sd * sd), sd = sqrt(var + 1e-5), var over the H W positions, unbiased; two weights a channel.
Source: Lee et al. 2019 (arXiv 1903.10829), section 3; hyunjaelee410/style-based-recalibration-module@f6221c7
models/recalibration_modules.py. The weights start at 0: the mask starts at 0.5.
Differs from the authors' code in: a 1x1 map has sd sqrt(1e-5) instead of NaN. There the module has no weight decay:
recipe.weight_decay.attention=0.
"""

import torch
from torch import Tensor, nn


class SRM(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1). In training BN needs two images or more."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 2))  # of mean and sd
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        count = max(x.shape[2] * x.shape[3] - 1, 1)
        sd = ((x - mean).square().sum(dim=(2, 3), keepdim=True) / count + 1e-5).sqrt()
        z = self.weight[:, 0, None, None] * mean + self.weight[:, 1, None, None] * sd
        return self.norm(z)
