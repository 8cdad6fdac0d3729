"""Coordinate attention: a score per channel and row, and one per channel and column.

f = h_swish(BN(W [mean over columns; mean over rows])), W a 1x1 conv to max(8, C / r) channels, split again
into rows and columns; z_h = F_h f_h, (B, C, H, 1); z_w = F_w f_w, (B, C, 1, W); y = x m(z_h) m(z_w).
Source: Hou et al. 2021 (arXiv 2103.02907), section 3.2; r = 32; houqb/CoordAttention@7619bea coordatt.py.
Differs from the authors' code in: place (there MobileNetV2's expansion); PyTorch's default initialisation, as their
module by itself (their net: normal by fan-out).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.attention.checks import hidden
from attnlab.attention.gate import MakeGate
from attnlab.layers import MeanOverAxes

LEAST = 8  # channels of the shared layer


class Coordinate(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W). reduction: r;  gate: wraps each of the two scores in the configured mask."""

    def __init__(self, channels: int, *, gate: MakeGate, reduction: int = 32) -> None:
        super().__init__()
        self.squeeze = MeanOverAxes()
        inner = hidden(channels, reduction, LEAST)
        self.shared = nn.Conv2d(channels, inner, 1)
        self.norm = nn.BatchNorm2d(inner)
        self.rows = gate(nn.Conv2d(inner, channels, 1))
        self.columns = gate(nn.Conv2d(inner, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        m_rows, m_columns = self.factors(self.squeeze(x), x)
        return x * m_rows * m_columns

    def factors(self, v: tuple[Tensor, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """The means (B, C, H, 1) and (B, C, 1, W) of x -> what x is multiplied by, of the same two shapes."""
        rows, columns = v
        squeezed = torch.cat([rows, columns.transpose(2, 3)], dim=2)
        shared = F.hardswish(self.norm(self.shared(squeezed)))
        f_rows, f_columns = shared.split([rows.shape[2], columns.shape[3]], dim=2)
        z_rows, z_columns = self.rows.score(f_rows), self.columns.score(f_columns).transpose(2, 3)
        return self.rows.factor(z_rows, x), self.columns.factor(z_columns, x)
