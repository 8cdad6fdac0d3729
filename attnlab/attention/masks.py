"""Masks: score z -> mask m, elementwise, for any shape. A mask knows no score.

Laakom et al. 2021 (Learning to ignore, arXiv 2111.05684); names, numbers of the variants and formulas are those of its
official code, firasl/inverse_attention@8c9a08c main_cifar.py, models/attention_module.py. s(z) = sigmoid(z),
eps = 1e-6.

Since 1 - s(z) = s(-z), Ignore(1) and Negated are the same function, and both are Attend(1) with the sign of the
score's last layer flipped: under a symmetric initialisation they are the same model in distribution.
"""

import torch
from torch import Tensor, nn

from attnlab.errors import ConfigError


def _in_unit_interval(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ConfigError(f"wrong value attention.mask.{name}={value}; allowed is 0 to 1")
    return float(value)


def _wide(z: Tensor) -> Tensor:
    """z in at least float32, since 1 / eps overflows float16."""
    return z if z.dtype == torch.float64 else z.float()


class Attend(nn.Module):
    """m = alpha s(z), in (0, alpha). Official code: `se_block`, `se_block_08`, `se_block_05`."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = _in_unit_interval("alpha", alpha)

    def forward(self, z: Tensor) -> Tensor:
        m = torch.sigmoid(z)
        return m if self.alpha == 1 else self.alpha * m


class Ignore(nn.Module):
    """m = 1 - alpha s(z), in (1 - alpha, 1). Official code, first variant: `ours`, `ours_08`, `ours_05`."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = _in_unit_interval("alpha", alpha)

    def forward(self, z: Tensor) -> Tensor:
        return 1 - self.alpha * torch.sigmoid(z)


def _above_0(eps: float) -> float:
    if eps <= 0:
        raise ConfigError(f"wrong value attention.mask.eps={eps}; allowed is a number above 0")
    return float(eps)


class Reciprocal(nn.Module):
    """m = s(1 / (s(z) + eps)), in (0.7311, 1). Official code, second variant: `ours_invsigmoid`."""

    def __init__(self, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = _above_0(eps)

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(1 / (torch.sigmoid(_wide(z)) + self.eps)).to(z.dtype)


class ReciprocalRaw(nn.Module):
    """m = s(1 / (z + eps)), in (0, 1), singular at z = -eps as in the official code: `ours_invsigmoidraw`."""

    def __init__(self, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = _above_0(eps)

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(1 / (_wide(z) + self.eps)).to(z.dtype)


class Negated(nn.Module):
    """m = s(-z), in (0, 1). Official code, third variant: `ours_msigmoid`."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(-z)


class Exponential(nn.Module):
    """m = exp(-relu(z)), in (0, 1]. Official code: `ours_mexp`."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.exp(-torch.relu(z))


class SigmoidExponential(nn.Module):
    """m = s(exp(-relu(z))), in (0.5, 0.7311]. Official code: `ours_mexpsigm`."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(torch.exp(-torch.relu(z)))


class AttendFloor(nn.Module):
    """m = floor + (1 - floor) s(z), in (floor, 1): attend, but never below the floor.

    The honest control for Ignore(alpha): 1 - alpha s(z) = (1 - alpha) + alpha s(-z) = AttendFloor(1 - alpha)(-z).
    """

    def __init__(self, floor: float = 0.5) -> None:
        super().__init__()
        self.floor = _in_unit_interval("floor", floor)

    def forward(self, z: Tensor) -> Tensor:
        return self.floor + (1 - self.floor) * torch.sigmoid(z)


class Hard(nn.Module):
    """m = 1 where z >= 0, else 0; the gradient is that of s(z).

    m is 1 at z = 0, where official CBAM starts; with 0 it would start with all features off.

    Straight-through estimator, Bengio et al. 2013 (arXiv 1308.3432).
    """

    def forward(self, z: Tensor) -> Tensor:
        soft = torch.sigmoid(z)
        return soft + ((z >= 0).to(soft.dtype) - soft).detach()


class Relu(nn.Module):
    """m = relu(z), unbounded. Hu et al. 2018 (arXiv 1709.01507), section 6.3: worse than no attention at all."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.relu(z)


class Tanh(nn.Module):
    """m = tanh(z), in (-1, 1). Hu et al. 2018 (arXiv 1709.01507), section 6.3."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z)
