"""Gate: y = apply(x, mask(score(x))), the one place where a score meets a mask."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.machine.kernels.gates import Pooling, enter, leave

PARTS = ("gates", "norms")
_fused = set(PARTS)


@contextmanager
def plain(*parts: str) -> Iterator[None]:
    """Gates run as defined, x * mask(score(x)) in plain operations, and norms as PyTorch has them:
    slower, and differentiable more than once.

    parts: `gates` or `norms`; none named = both. Raises ValueError for another one.
    """
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"plain: no such part {', '.join(sorted(unknown))}; allowed are {', '.join(PARTS)}")
    before = set(_fused)
    _fused.difference_update(parts or PARTS)
    try:
        yield
    finally:
        _fused.update(before)


def is_plain(part: str = "gates") -> bool:
    """Whether gates (or norms) run as defined here: within `plain`, or while torch.jit traces."""
    return part not in _fused or torch.jit.is_tracing()


def fuses(part: str = "gates") -> bool:
    """Whether gates (or norms) run fused here: not within `plain`, nor within torch.compile, which fuses the plain form
    better (results/bench/NOTES.md)."""
    return not is_plain(part) and not torch.compiler.is_compiling()


class PooledScore(nn.Module):
    """A score that sees x only through what `pool` makes of it; a Gate computes it in fewer passes over x (fused.py).

    A subclass sets `pooling` (None: it sees all of x, and has a `forward` of its own).
    """

    pooling: Pooling | None

    def of(self, *pooled: Tensor) -> Tensor:
        """Pooled values -> z, of the shape that pooling.shapes tells."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        assert self.pooling is not None
        return self.of(*self.pooling.plain(x))


def spread(m: Tensor, x: Tensor) -> Tensor:
    """A mask coarser than x (B, C, H, W) to its size, by nearest neighbour; any other one as it is, to broadcast."""
    (h, w), (height, width) = m.shape[-2:] if m.dim() == 4 else (1, 1), x.shape[-2:]
    coarser = h <= height and w <= width and not (h in (1, height) and w in (1, width))
    return F.interpolate(m, size=(height, width), mode="nearest") if coarser else m


#: what x is multiplied by: m; 1 + m, as BAM does (Park et al. 2018, arXiv 1807.06514, equation 1)
FACTOR: dict[str, Callable[[Tensor], Tensor]] = {"scale": lambda m: m, "residual": lambda m: 1 + m}


class Gate(nn.Module):
    """Features x (B, C, H, W) -> y (B, C, H, W), multiplied by the mask of their own score.

    score: x -> z, broadcastable to x, or coarser;  mask: z -> m, elementwise, so that a coarse one is spread over x
    after it;  apply: `scale` or `residual`.
    forward(x, source) scores `source` instead of x: the block's input (PSE), or what two gates share (Coordinate).
    """

    def __init__(self, score: nn.Module, mask: nn.Module, apply: str = "scale") -> None:
        super().__init__()
        if apply not in FACTOR:
            raise ConfigError(f"attention.apply={apply}: allowed are {', '.join(FACTOR)}")
        self.score = score
        self.mask = mask
        self.how = apply

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        if source is None and fuses() and isinstance(self.score, PooledScore) and self.score.pooling is not None:
            pooling = self.score.pooling
            inside, tokens, pooled = enter(x, pooling)
            return leave(inside, tokens, (self.factor(self.score.of(*pooled), x),), pooling)
        return x * self.factor(self.score(x if source is None else source), x)

    def factor(self, z: Tensor, x: Tensor) -> Tensor:
        """What scores z multiply x by: m or 1 + m, m = mask(z)."""
        return spread(FACTOR[self.how](self.mask(z).to(x.dtype)), x)

    def extra_repr(self) -> str:
        return f"apply={self.how}"


MakeGate = Callable[[nn.Module], Gate]
