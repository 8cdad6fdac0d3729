"""Squeeze-and-Excitation: a score per channel.

z = W2 relu(W1 GAP(x) + b1) + b2, W1 (C/r, C), W2 (C, C/r).
Source: Hu et al. 2018, Squeeze-and-Excitation Networks (arXiv 1709.01507v4), section 3.1-3.2; r = 16; the squeezes:
sections 6.2 and 7.1 (`none`: both layers become 1x1 convolutions, a score per channel and position).
The inverse-attention variant: firasl/inverse_attention@8c9a08c models/attention_module.py; r = 8, kernels N(0, 0.01).
Biases: as the released nets (hujie-frank/SENet@0262d43); the paper's ablations have none (section 6). He normal by
fan-in: the paper names only He et al. 2015 (section 5.1). Tests compare it with timm's module, not with the authors'
Caffe files.
"""

from torch import Tensor, nn

from attnlab.attention.excitation import Excitation
from attnlab.errors import ConfigError
from attnlab.layers import Max, Mean

SQUEEZES: dict[str, type[nn.Module]] = {"avg": Mean, "max": Max, "none": nn.Identity}


class SE(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1), or (B, C, H, W) without a squeeze.

    channels: C;  reduction: r; C / r is rounded down;  bias: whether both layers have one, which starts at zero;
    init_std: standard deviation of the normal distribution of both kernels, None = He normal;
    squeeze: avg, max or none, None = avg.
    Raises ConfigError for r below 1 or above C, and for another squeeze.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        bias: bool = True,
        init_std: float | None = None,
        squeeze: str | None = None,
    ) -> None:
        super().__init__()
        if squeeze is not None and squeeze not in SQUEEZES:
            raise ConfigError(f"wrong value attention.squeeze={squeeze}; allowed are {', '.join(SQUEEZES)}")
        self.squeeze = SQUEEZES[squeeze or "avg"]()
        self.excite = Excitation(channels, reduction=reduction, bias=bias, init_std=init_std)

    def forward(self, x: Tensor) -> Tensor:
        return self.from_squeezed(self.squeeze(x))

    def from_squeezed(self, v: Tensor) -> Tensor:
        """v (B, C) -> z (B, C, 1, 1); v (B, C, H, W) -> z (B, C, H, W)."""
        return self.excite(v)[:, :, None, None] if v.dim() == 2 else self.excite(v.movedim(1, -1)).movedim(-1, 1)
