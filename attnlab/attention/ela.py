"""Efficient Local Attention: a score per channel and row, and one per channel and column, by one 1-d convolution.

z_h = GN(conv1d_k(mean over columns)), (B, C, H, 1); z_w = GN(conv1d_k(mean over rows)), (B, C, 1, W), the same
depthwise conv and norm for both; y = x m(z_h) m(z_w).
Source: Xu and Wan 2024 (arXiv 2403.01123), section 3; k = 7, 16 groups in GN. No code of its authors is known; the
copy compared is that of SCSA's authors, HZAI-ZJNU/SCSA@8c46866 mmpretrain/models/attentions/ELA.py.
Differs from that copy in: groups=null makes fewer than 16 groups where a group would hold under 4 channels.
"""

from torch import Tensor, nn

from attnlab.attention.checks import in_groups, odd
from attnlab.attention.gate import MakeGate


class ELA(nn.Module):
    """x (B, C, H, W) -> y (B, C, H, W).

    kernel_size: k, in pixels, odd;  groups: of GN, dividing C; None = 16 or fewer;  gate: makes the two masks.
    """

    def __init__(self, channels: int, *, gate: MakeGate, kernel_size: int = 7, groups: int | None = None) -> None:
        super().__init__()
        k = odd(kernel_size)
        self.conv = nn.Conv1d(channels, channels, k, padding=k // 2, groups=channels, bias=False)
        self.norm = nn.GroupNorm(in_groups(channels, groups, at_most=16), channels)
        # Both scores share their layers, so the two gates hold the masks only.
        self.rows, self.columns = gate(nn.Identity()), gate(nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        z_rows, z_columns = (self.norm(self.conv(x.mean(dim=axis))) for axis in (3, 2))
        return x * self.rows.factor(z_rows[..., None], x) * self.columns.factor(z_columns[:, :, None], x)
