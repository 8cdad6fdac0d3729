"""The random numbers of the corruptions: each image's from a generator of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Draws:
    """Draws (N, *shape) for N images, of the type and on the device of `like`; row i is generator i's alone.

    The generators are the CPU's and draw float32, so that every device sees the same numbers.
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
        """Of mean 0 and standard deviation 1."""
        return torch.stack([torch.randn(shape, generator=generator) for generator in self.generators]).to(self.like)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """low, ..., high - 1, equally likely, int64."""
        rows = [torch.randint(low, high, shape, generator=generator) for generator in self.generators]
        return torch.stack(rows).to(self.like.device)

    def poisson(self, rates: Tensor) -> Tensor:
        """Poisson counts of the rates (N, ...)."""
        pairs = zip(rates.float().cpu(), self.generators, strict=True)
        return torch.stack([torch.poisson(rate, generator=generator) for rate, generator in pairs]).to(self.like)
