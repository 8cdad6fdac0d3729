"""Gate: y = apply(x, mask(score(x))), the one place where a score meets a mask."""

from collections.abc import Callable

from torch import Tensor, nn

from attnlab.errors import ConfigError


def scale(x: Tensor, m: Tensor) -> Tensor:
    """y = x * m."""
    return x * m


def residual(x: Tensor, m: Tensor) -> Tensor:
    """y = x * (1 + m), as BAM does (Park et al. 2018, arXiv 1807.06514, equation 1)."""
    return x * (1 + m)


APPLY = {"scale": scale, "residual": residual}


class Gate(nn.Module):
    """Features x (B, C, H, W) -> y (B, C, H, W), multiplied by the mask of their own score.

    score: x -> z, broadcastable to x;  mask: z -> m, elementwise;  apply: `scale` or `residual`.
    forward(x, source) scores `source` instead of x: the block's input (PSE), or what two gates share (Coordinate).
    """

    def __init__(self, score: nn.Module, mask: nn.Module, apply: str = "scale") -> None:
        super().__init__()
        if apply not in APPLY:
            raise ConfigError(f"attention.apply={apply}: allowed are {', '.join(APPLY)}")
        self.score = score
        self.mask = mask
        self.how = apply

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        m = self.mask(self.score(x if source is None else source))
        return APPLY[self.how](x, m.to(x.dtype))

    def extra_repr(self) -> str:
        return f"apply={self.how}"


MakeGate = Callable[[nn.Module], Gate]
