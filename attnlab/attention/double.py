"""A2-Net's double attention: gathers n global descriptors and hands each position a mixture of them.

Z = [phi(x) softmax_positions(theta(x))^T] softmax_n(rho(x)); y = x + W Z; phi to m = C / r channels, theta and rho to
n = C / r maps, all 1x1 convs.
Source: Chen et al. 2018, A2-Nets (arXiv 1810.11579), section 2; r = 4 (section 3.2).
Not a multiplicative gate: it has no mask and no inverse.
Differs from the authors' code in: it was not read; the paper puts five blocks into conv3 and conv4, here they stand
between stages. W starts at zero here, so that the block starts as identity.
"""

from torch import Tensor, nn

from attnlab.attention.checks import hidden
from attnlab.layers import conv


class DoubleAttention(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W). reduction: r."""

    no_mask = "it adds to its input"

    def __init__(self, channels: int, *, reduction: int = 4) -> None:
        super().__init__()
        inner = hidden(channels, reduction)
        self.phi, self.theta, self.rho = (conv(channels, inner, bias=True) for _ in range(3))
        self.out = conv(inner, channels, bias=True, init=0.0)

    def forward(self, x: Tensor) -> Tensor:
        gather = self.theta(x).flatten(2).softmax(dim=2)  # (B, n, H W), over positions
        spread = self.rho(x).flatten(2).softmax(dim=1)  # (B, n, H W), over descriptors
        descriptors = self.phi(x).flatten(2).to(gather.dtype) @ gather.transpose(1, 2)  # (B, m, n)
        mixed = (descriptors @ spread).unflatten(2, x.shape[2:])
        return x + self.out(mixed.to(x.dtype))
