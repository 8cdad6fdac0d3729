"""Non-local block: adds to every position a weighted sum over all positions.

y_i = x_i + W sum_j softmax_j(<theta x_i, phi x_j>) g x_j; theta, phi, g 1x1 convs to C / r channels, W back, zero
initially.
Source: Wang et al. 2018, Non-local Neural Networks (arXiv 1711.07971), section 3, embedded Gaussian; r = 2; x is
max-pooled by 2 in front of phi and g (section 3.3, the subsampling trick). Not a multiplicative gate: it has no mask
and no inverse.
Differs from the paper in: W has no BN (section 4.1: one whose weight starts at zero); scores are not divided by the
root of the inner width, as the formula has it; place (there a few blocks of res3 and res4, here between stages).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.attention.checks import at_least_1, hidden
from attnlab.layers import conv


class NonLocal(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W). reduction: r;  pool: of phi and g, in pixels, 1 = none."""

    no_mask = "it adds to its input"

    def __init__(self, channels: int, *, reduction: int = 2, pool: int = 2) -> None:
        super().__init__()
        inner = hidden(channels, reduction)
        self.theta, self.phi, self.g = (conv(channels, inner, bias=True, init=0.01) for _ in range(3))
        self.out = conv(inner, channels, bias=True, init=0.0)
        self.pool = at_least_1("pool", pool)

    def forward(self, x: Tensor) -> Tensor:
        def positions(features: Tensor) -> Tensor:  # (B, 1, H W, C / r)
            return features.flatten(2).transpose(1, 2)[:, None]

        context = x
        if self.pool > 1 and min(x.shape[2:]) >= self.pool:
            context = F.max_pool2d(x, self.pool)
        query, key, value = positions(self.theta(x)), positions(self.phi(context)), positions(self.g(context))
        gathered = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.out(gathered[:, 0].transpose(1, 2).unflatten(2, x.shape[2:]))
