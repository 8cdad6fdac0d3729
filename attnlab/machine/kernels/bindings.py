"""The functions of passes.c on tensors: each allocates its results and calls. What they compute: passes.py.

All maps are bfloat16 in channels_last on a CPU (passes.fast says when). A compiler fuses passes itself (gate.fuses); it
sees the convolution of a few planes alone, which it cannot do fast, as an operator attnlab::NAME of torch.library.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attnlab.machine.kernels.compile import call


def operator(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself, which is quicker to call, and within torch.compile an operator; its own allocations tell
    the compiler the shapes."""
    custom = torch.library.custom_op(f"attnlab::{function.__name__}", function, mutates_args=())
    custom.register_fake(function)

    def either(*arguments: Tensor | None) -> Any:
        return custom(*arguments) if torch.compiler.is_compiling() else function(*arguments)

    return either


def _sizes(x: Tensor) -> tuple[int, int, int]:
    """B, P = H W, C."""
    return x.shape[0], x.shape[2] * x.shape[3], x.shape[1]


def mean_positions(x: Tensor) -> Tensor:
    """passes.mean_positions."""
    mean = x.new_empty(*x.shape[:2], 1, 1)
    call("pool_positions", x, *_sizes(x), mean, None, None)
    return mean


def mean_max_positions(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """passes.mean_max_positions."""
    mean, most = x.new_empty(*x.shape[:2], 1, 1), x.new_empty(*x.shape[:2], 1, 1)
    where = x.new_empty(*x.shape[:2], 1, 1, dtype=torch.int64)
    call("pool_positions", x, *_sizes(x), mean, most, where)
    return mean, most, where


def pool_channels(x: Tensor) -> tuple[Tensor, Tensor]:
    """passes.pool_channels."""
    most, mean = x.new_empty(x.shape[0], 1, *x.shape[2:]), x.new_empty(x.shape[0], 1, *x.shape[2:])
    call("pool_channels", x, x.shape[0] * x.shape[2] * x.shape[3], x.shape[1], most, mean)
    return most, mean


def times(x: Tensor, m: Tensor) -> Tensor:
    """passes.times."""
    y, m, (b, p, c) = torch.empty_like(x), m.contiguous(), _sizes(x)
    if m.shape[1] == x.shape[1]:
        call("times_channels", x, b, p, c, m, None, None, None, y)
    else:
        call("times_positions", x, b * p, c, m, y)
    return y


def dot_positions(a: Tensor, b: Tensor) -> Tensor:
    """passes.dot, over positions."""
    d = a.new_empty(*a.shape[:2], 1, 1)
    call("dot_positions", a, b, *_sizes(a), d)
    return d


def dot_channels(a: Tensor, b: Tensor) -> Tensor:
    """passes.dot, over channels."""
    d = a.new_empty(a.shape[0], 1, *a.shape[2:])
    call("dot_channels", a, b, d.numel(), a.shape[1], d)
    return d


def pool_positions_backward(
    dy: Tensor, m: Tensor, share: Tensor | None, dmost: Tensor | None, where: Tensor | None
) -> Tensor:
    """passes.pool_positions_backward."""
    dx = torch.empty_like(dy)
    given = [None if v is None else v.contiguous() for v in (m, share, dmost, where)]
    call("times_channels", dy, *_sizes(dy), *given, dx)
    return dx


def pool_channels_backward(dy: Tensor, m: Tensor, share: Tensor, dmost: Tensor, x: Tensor, most: Tensor) -> Tensor:
    """passes.pool_channels_backward."""
    dx, positions = torch.empty_like(dy), x.shape[0] * x.shape[2] * x.shape[3]
    given = [v.contiguous() for v in (m, share, dmost, most)]
    call("times_positions_backward", dy, x, positions, x.shape[1], *given, dx)
    return dx


def _rows_first(*vectors: Tensor) -> list[Tensor]:
    """(B, C, H, 1) or (B, C, 1, W) as memory (B, H or W, C)."""
    return [v.flatten(2).transpose(1, 2).contiguous() for v in vectors]


def _axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Room for (B, H, C) and (B, W, C)."""
    return x.new_empty(x.shape[0], x.shape[2], x.shape[1]), x.new_empty(x.shape[0], x.shape[3], x.shape[1])


def pool_axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """passes.pool_axes."""
    rows, columns = _axes(x)
    call("pool_axes", x, x.shape[0], *x.shape[2:], x.shape[1], rows, columns)
    return rows, columns


def times_axes(x: Tensor, p: Tensor, q: Tensor, g: Tensor | None, h: Tensor | None) -> Tensor:
    """passes.times_axes, plus g + h: passes.pool_axes_backward."""
    y = torch.empty_like(x)
    added = [None, None] if g is None or h is None else _rows_first(g, h)
    call("times_axes", x, x.shape[0], *x.shape[2:], x.shape[1], *_rows_first(p, q), *added, y)
    return y


def dot_axes(dy: Tensor, x: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """passes.dot_axes."""
    dp, dq = _axes(x)
    call("dot_axes", dy, x, x.shape[0], *x.shape[2:], x.shape[1], *_rows_first(p, q), dp, dq)
    return dp, dq


@operator
def conv_planes(planes: Tensor, weight: Tensor) -> Tensor:
    """passes.conv_planes."""
    out = planes.new_empty(planes.shape[0], 1, *planes.shape[2:])
    call("conv_planes", planes.contiguous(), *planes.shape, weight.contiguous(), weight.shape[2], out)
    return out


@operator
def conv_planes_backward(dout: Tensor, planes: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of passes.conv_planes."""
    dplanes, k = planes.new_empty(planes.shape), weight.shape[2]
    each = weight.new_empty(planes.shape[0], planes.shape[1], k, k)
    flipped = weight.flip(2, 3).contiguous()
    call("conv_planes_backward", dout.contiguous(), planes.contiguous(), *planes.shape, flipped, k, dplanes, each)
    return dplanes, each.sum(dim=0, keepdim=True)
