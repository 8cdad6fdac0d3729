"""Gate: y = apply(x, mask(score(x))). Scores and masks know nothing of each other; a gate joins them."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.errors import ConfigError


def spread(m: Tensor, x: Tensor) -> Tensor:
    """Upsample a mask that is coarser than x (B, C, H, W) by nearest neighbour; return any other mask as it is."""
    (h, w), (height, width) = m.shape[-2:] if m.dim() == 4 else (1, 1), x.shape[-2:]
    coarser = h <= height and w <= width and not (h in (1, height) and w in (1, width))
    return F.interpolate(m, size=(height, width), mode="nearest") if coarser else m


#: what x is multiplied by: m; 1 + m, as BAM does (Park et al. 2018, arXiv 1807.06514, equation 1)
FACTOR: dict[str, Callable[[Tensor], Tensor]] = {"scale": lambda m: m, "residual": lambda m: 1 + m}


class Gate(nn.Module):
    """x (B, C, H, W) -> y = x m (`scale`) or y = x (1 + m) (`residual`), m = mask(score(x)).

    score: x -> z, broadcastable to x, or coarser;  mask: z -> m, elementwise; a coarse m is upsampled to x;
    apply: `scale` or `residual`.
    forward(x, source) scores `source` instead of x, e.g. the block's input (PSE).
    Raises ConfigError for another `apply`.
    """

    def __init__(self, score: nn.Module, mask: nn.Module, apply: str = "scale") -> None:
        super().__init__()
        if apply not in FACTOR:
            raise ConfigError(f"wrong value attention.apply={apply}; allowed are {', '.join(FACTOR)}")
        self.score = score
        self.mask = mask
        self.how = apply

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        return x * self.factor(self.score(x if source is None else source), x)

    def factor(self, z: Tensor, x: Tensor) -> Tensor:
        """m or 1 + m, m = mask(z): what x is multiplied by. It has the dtype of x."""
        return spread(FACTOR[self.how](self.mask(z).to(x.dtype)), x)

    def extra_repr(self) -> str:
        return f"apply={self.how}"


MakeGate = Callable[[nn.Module], Gate]
