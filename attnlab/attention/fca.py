"""FcaNet: a score per channel; SE whose squeeze takes 16 frequencies of the discrete cosine transform, not one.

The C channels are cut into 16 groups; group k is pooled with sum over (i, j) of x_ij b(i; u_k, H) b(j; v_k, W),
b(i; u, N) = cos(pi u (i + 1/2) / N) / sqrt(N), times sqrt(2) for u > 0; then z = W2 relu(W1 .), no biases.
(u, v) are the paper's 16 best of a 7x7 grid, scaled by floor(N / 7).
Source: Qin et al. 2021 (arXiv 2012.11879), section 3 (FcaNet-TS); r = 16; cfzd/FcaNet@aa5fb63 model/layer.py.
Differs from the authors' code in: the basis is that of the map at hand (there maps are first pooled to 56, 28, 14 or
7); on maps under 7 pixels the frequencies are used as they are. Linear layers are He normal.
"""

import math

import torch
from torch import Tensor, nn

from attnlab.attention.excitation import Excitation
from attnlab.errors import ConfigError

ROWS = (0, 0, 6, 0, 0, 1, 1, 4, 5, 1, 3, 0, 0, 0, 3, 2)
COLUMNS = (0, 1, 0, 5, 2, 0, 2, 0, 0, 6, 0, 4, 6, 3, 5, 2)


def basis(frequencies: Tensor, size: int) -> Tensor:
    """(16,) frequencies of a 7-point grid -> (16, size), a cosine each."""
    scaled = frequencies * max(size // 7, 1)
    positions = torch.arange(size, device=frequencies.device) + 0.5
    waves = torch.cos(math.pi / size * scaled[:, None] * positions)
    return waves / math.sqrt(size) * torch.where(scaled > 0, math.sqrt(2), 1.0)[:, None]


class Fca(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1). reduction: r.

    Raises ConfigError unless 16 divides C, as there (section 3.2).
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        if channels % len(ROWS):
            raise ConfigError(
                f"wrong number of channels, {channels}; allowed are multiples of {len(ROWS)}, a group for each "
                "frequency"
            )
        self.excite = Excitation(channels, reduction=reduction, bias=False)
        self.rows: Tensor
        self.columns: Tensor
        self.register_buffer("rows", torch.tensor(ROWS), persistent=False)
        self.register_buffer("columns", torch.tensor(COLUMNS), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernels = basis(self.rows, x.shape[2])[:, :, None] * basis(self.columns, x.shape[3])[:, None]  # (16, H, W)
        grouped = x.unflatten(1, (len(ROWS), -1))  # (B, 16, C/16, H, W)
        pooled = (grouped * kernels[:, None].to(x.dtype)).sum(dim=(3, 4)).flatten(1)
        return self.excite(pooled)[:, :, None, None]
