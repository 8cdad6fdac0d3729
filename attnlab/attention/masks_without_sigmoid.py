"""Masks of modules that use no sigmoid: z -> m, elementwise, for any shape.

They are the defaults of `lsk` and `lska` (Linear) and of `ese` (HardSigmoid); attention/mask gives them to any score.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Module):
    """m = z, unbounded: the score itself multiplies the features, as in VAN, LSKNet and LSKA."""

    def forward(self, z: Tensor) -> Tensor:
        return z


class HardSigmoid(nn.Module):
    """m = min(max(z + 3, 0), 6) / 6, in [0, 1]. Howard et al. 2019, MobileNetV3 (arXiv 1905.02244), section 5.2."""

    def forward(self, z: Tensor) -> Tensor:
        return F.relu6(z + 3) / 6
