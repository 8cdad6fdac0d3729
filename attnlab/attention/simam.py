"""SimAM: a score per element from how far it lies from the mean of its map; no parameters.

z = d / (4 (v + lambda)) + 0.5, d = (x - mean)^2, v = sum(d) / (H W - 1), mean and sum over positions.
Source: Yang et al. 2021, SimAM (ICML), equation 5 and algorithm in figure 3; ZjjConan/SimAM@ae98f43
networks/attentions/simam_module.py; lambda 1e-4 on CIFAR (0.1 on ImageNet); after the block's second conv, before BN.
Differs from the authors' code in: a 1x1 map has z = 0.5 instead of NaN.
"""

from torch import Tensor, nn

from attnlab.errors import ConfigError


class SimAM(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W), at least 0.5. regularization: lambda, in units of x squared."""

    def __init__(self, channels: int, *, regularization: float = 1e-4) -> None:
        super().__init__()
        if regularization <= 0:
            raise ConfigError(f"wrong value attention.regularization={regularization}; allowed is a number above 0")
        self.regularization = float(regularization)

    def forward(self, x: Tensor) -> Tensor:
        d = (x - x.mean(dim=(2, 3), keepdim=True)).square()
        v = d.sum(dim=(2, 3), keepdim=True) / max(x.shape[2] * x.shape[3] - 1, 1)
        return d / (4 * (v + self.regularization)) + 0.5
