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
from attnlab.attention.gate import MakeGate, fuses
from attnlab.machine.kernels.gates import MeanOverAxes, enter, leave

LEAST = 8  # channels of the shared layer


class Coordinate(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W). reduction: r;  gate: wraps each of the two scores in the configured mask."""

    pooling = MeanOverAxes()

    def __init__(self, channels: int, *, gate: MakeGate, reduction: int = 32) -> None:
        super().__init__()
        inner = hidden(channels, reduction, LEAST)
        self.shared = nn.Conv2d(channels, inner, 1)
        self.norm = nn.BatchNorm2d(inner)
        self.rows = gate(nn.Conv2d(inner, channels, 1))
        self.columns = gate(nn.Conv2d(inner, channels, 1))

    def scores(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """What both axes say -> z_h (B, C, H, 1), z_w (B, C, 1, W)."""
        pooled = torch.cat([rows, columns.transpose(2, 3)], dim=2)
        shared = F.hardswish(self.norm(self.shared(pooled)))
        rows, columns = shared.split([rows.shape[2], columns.shape[3]], dim=2)
        return self.rows.score(rows), self.columns.score(columns).transpose(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not fuses():
            z_rows, z_columns = self.scores(*self.pooling.plain(x))
            return x * self.rows.factor(z_rows, x) * self.columns.factor(z_columns, x)
        inside, tokens, pooled = enter(x, self.pooling)
        z_rows, z_columns = self.scores(*pooled)
        return leave(inside, tokens, (self.rows.factor(z_rows, x), self.columns.factor(z_columns, x)), self.pooling)
