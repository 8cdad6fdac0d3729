"""Mixed Local Channel Attention: ECA over the map and over the cells of a grid, their masks mixed.

p = means of x over an n x n grid, (B, C, n, n); z_local = conv1d_k(p read cell by cell, C n n values), z_global =
conv1d_k(mean of p); m = (1 - w) m(z_global) + w m(z_local), the latter brought from the grid to the map by adaptive
averaging; y = x m. k as in ECA.
Source: Wan et al. 2023 (Engineering Applications of Artificial Intelligence 123, 106442), section 3; n = 5, w = 0.5;
wandahangFY/MLCA@afbeb47 MLCA.py.
Differs from the authors' code in: nothing known. PyTorch's default initialisation of both convs, as there.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.attention.checks import at_least_1
from attnlab.attention.eca import adaptive_kernel_size
from attnlab.attention.gate import MakeGate
from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError


class Along(nn.Module):
    """(B, length) -> (B, length): a convolution of k values, zero-padded, without bias."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

    def forward(self, v: Tensor) -> Tensor:
        return self.conv(v[:, None])[:, 0]


class MLCA(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W).

    grid: n, the cells along each axis;  local: w, the share of the cells' mask, 0 to 1;  gate: makes the two masks.
    Raises ConfigError for a share outside 0 to 1, and for a grid below 1.
    """

    def __init__(self, channels: int, *, gate: MakeGate, grid: int = 5, local: float = 0.5) -> None:
        super().__init__()
        if not 0 <= local <= 1:
            raise ConfigError(wrong_value("attention.local", local, "a number from 0 to 1"))
        self.grid, self.share = at_least_1("grid", grid), float(local)
        k = adaptive_kernel_size(channels)
        self.cells, self.map = gate(Along(k)), gate(Along(k))

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(x, self.grid)
        cells = pooled.flatten(2).transpose(1, 2).flatten(1)  # (B, n n C), cell by cell
        z_cells = self.cells.score(cells).unflatten(1, (-1, x.shape[1])).transpose(1, 2).unflatten(2, (self.grid, -1))
        z_map = self.map.score(pooled.mean(dim=(2, 3)))[:, :, None, None]
        m_cells = F.adaptive_avg_pool2d(self.cells.factor(z_cells, pooled), (x.shape[2], x.shape[3]))
        return x * ((1 - self.share) * self.map.factor(z_map, x) + self.share * m_cells)
