"""Parameter-free Average Attention Module: a score per element, the product of two means.

z_cij = (mean over channels of x)_ij * (mean over positions of x)_c.
Source: Koerber 2022 (arXiv 2210.07828) by its abstract, the formula by nkoerb/pfaam@c6b02a5; after a conv block, which
one is not known: here at the end of the branch.
Differs from the authors' code in: no BN on the path, which its TensorFlow version has.
"""

from torch import Tensor, nn


class PfAAM(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W); no parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1, keepdim=True) * x.mean(dim=(2, 3), keepdim=True)
