"""The random numbers of the corruptions; each image has its own generator."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Draws:
    """Random numbers (N, *shape) for N images, with the dtype and device of `like`; row i is drawn by generator i.

    The generators are on the CPU and draw float32, so that every device gets the same numbers.
    """

    def __init__(self, generators: Sequence[torch.Generator], like: Tensor) -> None:
        self.generators, self.like = generators, like

    def __len__(self) -> int:
        return len(self.generators)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform in [low, high)."""
        rows = torch.stack([torch.rand(shape, generator=generator) for generator in self.generators])
        return low + (high - low) * rows.to(self.like)

    def normal(self, *shape: int) -> Tensor:
        """Normal with mean 0 and standard deviation 1."""
        return torch.stack([torch.randn(shape, generator=generator) for generator in self.generators]).to(self.like)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Uniform among low, ..., high - 1, int64."""
        rows = [torch.randint(low, high, shape, generator=generator) for generator in self.generators]
        return torch.stack(rows).to(self.like.device)

    def poisson(self, rates: Tensor) -> Tensor:
        """Poisson counts with the rates (N, ...)."""
        pairs = zip(rates.float().cpu(), self.generators, strict=True)
        return torch.stack([torch.poisson(rate, generator=generator) for rate, generator in pairs]).to(self.like)
