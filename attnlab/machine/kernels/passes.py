"""The functions of passes.c on tensors: sums over positions or channels of a map x (B, C, H, W), products with masks.

All maps are bfloat16 in channels_last on a CPU (fused.is_fast). PyTorch's operations cost three to twenty times a copy
of such a map: a sum goes through a float32 copy of it, a broadcast over 16 channels or over positions runs element by
element. Each function here costs about one copy. Sums are in float32 and rounded once.
"""

import torch
from torch import Tensor

from attnlab.machine.kernels.compile import call


def _sizes(x: Tensor) -> tuple[int, int, int]:
    """B, P = H W, C."""
    return x.shape[0], x.shape[2] * x.shape[3], x.shape[1]


def mean_positions(x: Tensor) -> Tensor:
    """The mean over positions, (B, C, 1, 1)."""
    mean = x.new_empty(*x.shape[:2], 1, 1)
    call("pool_positions", x, *_sizes(x), mean, None, None)
    return mean


def mean_max_positions(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and maximum over positions, and the first position of the maximum, i W + j: (B, C, 1, 1) each."""
    mean, most = x.new_empty(*x.shape[:2], 1, 1), x.new_empty(*x.shape[:2], 1, 1)
    where = x.new_empty(*x.shape[:2], 1, 1, dtype=torch.int64)
    call("pool_positions", x, *_sizes(x), mean, most, where)
    return mean, most, where


def max_mean_channels(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum and mean over channels: (B, 1, H, W) each."""
    most, mean = x.new_empty(x.shape[0], 1, *x.shape[2:]), x.new_empty(x.shape[0], 1, *x.shape[2:])
    call("pool_channels", x, x.shape[0] * x.shape[2] * x.shape[3], x.shape[1], most, mean)
    return most, mean


def times(x: Tensor, m: Tensor) -> Tensor:
    """x m; m (B, C, 1, 1) or (B, 1, H, W)."""
    y, m, (b, p, c) = torch.empty_like(x), m.contiguous(), _sizes(x)
    if m.shape[1] == x.shape[1]:
        call("times_channels", x, b, p, c, m, None, None, None, y)
    else:
        call("times_positions", x, b * p, c, m, y)
    return y


def dot(a: Tensor, b: Tensor, m: Tensor) -> Tensor:
    """The sum of a b over positions or over channels, so that it has the shape of m: (B, C, 1, 1) or (B, 1, H, W)."""
    if m.shape[1] == a.shape[1]:
        d = a.new_empty(*a.shape[:2], 1, 1)
        call("dot_positions", a, b, *_sizes(a), d)
    else:
        d = a.new_empty(a.shape[0], 1, *a.shape[2:])
        call("dot_channels", a, b, d.numel(), a.shape[1], d)
    return d


def pool_positions_backward(
    dy: Tensor, m: Tensor, dmean: Tensor | None, dmost: Tensor | None, where: Tensor | None
) -> Tensor:
    """dy m + dmean / (H W), plus dmost at the positions `where`; m and all these (B, C, 1, 1)."""
    share = None if dmean is None else dmean / (dy.shape[2] * dy.shape[3])
    dx = torch.empty_like(dy)
    given = [None if v is None else v.contiguous() for v in (m, share, dmost, where)]
    call("times_channels", dy, *_sizes(dy), *given, dx)
    return dx


def pool_channels_backward(dy: Tensor, m: Tensor, dmost: Tensor, dmean: Tensor, x: Tensor, most: Tensor) -> Tensor:
    """dy m + dmean / C, plus dmost shared among the channels where x is `most`; m and all these (B, 1, H, W)."""
    dx, positions = torch.empty_like(dy), x.shape[0] * x.shape[2] * x.shape[3]
    given = [v.contiguous() for v in (m, dmean / x.shape[1], dmost, most)]
    call("times_positions_backward", dy, x, positions, x.shape[1], *given, dx)
    return dx


def _rows_first(*vectors: Tensor) -> list[Tensor]:
    """(B, C, H, 1) or (B, C, 1, W) as memory (B, H or W, C)."""
    return [v.flatten(2).transpose(1, 2).contiguous() for v in vectors]


def _axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Memory for (B, H, C) and (B, W, C)."""
    return x.new_empty(x.shape[0], x.shape[2], x.shape[1]), x.new_empty(x.shape[0], x.shape[3], x.shape[1])


def _as_axes(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """(B, H, C), (B, W, C) -> (B, C, H, 1), (B, C, 1, W)."""
    return rows.transpose(1, 2)[..., None], columns.transpose(1, 2)[:, :, None]


def mean_axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over columns, (B, C, H, 1), and over rows, (B, C, 1, W)."""
    rows, columns = _axes(x)
    call("pool_axes", x, x.shape[0], *x.shape[2:], x.shape[1], rows, columns)
    return _as_axes(rows, columns)


def _times_axes(x: Tensor, p: Tensor, q: Tensor, *added: Tensor) -> Tensor:
    y = torch.empty_like(x)
    vectors = _rows_first(p, q, *added) + [None] * (2 - len(added))
    call("times_axes", x, x.shape[0], *x.shape[2:], x.shape[1], *vectors, y)
    return y


def times_axes(x: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """x p q; p (B, C, H, 1), q (B, C, 1, W)."""
    return _times_axes(x, p, q)


def dot_axes(dy: Tensor, x: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over columns of dy x q, (B, C, H, 1), and over rows of dy x p, (B, C, 1, W)."""
    dp, dq = _axes(x)
    call("dot_axes", dy, x, x.shape[0], *x.shape[2:], x.shape[1], *_rows_first(p, q), dp, dq)
    return _as_axes(dp, dq)


def mean_axes_backward(dy: Tensor, p: Tensor, q: Tensor, drows: Tensor, dcolumns: Tensor) -> Tensor:
    """dy p q + drows / W + dcolumns / H."""
    return _times_axes(dy, p, q, drows / dy.shape[3], dcolumns / dy.shape[2])


def conv_planes(planes: Tensor, weight: Tensor) -> Tensor:
    """A `same` convolution (B, P, H, W) -> (B, 1, H, W); weight (1, P, k, k) in float32, k odd."""
    out = planes.new_empty(planes.shape[0], 1, *planes.shape[2:])
    call("conv_planes", planes.contiguous(), *planes.shape, weight.contiguous(), weight.shape[2], out)
    return out


def conv_planes_backward(dout: Tensor, planes: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of planes and weight of conv_planes."""
    dplanes, k = planes.new_empty(planes.shape), weight.shape[2]
    each = weight.new_empty(planes.shape[0], planes.shape[1], k, k)
    flipped = weight.flip(2, 3).contiguous()
    call("conv_planes_backward", dout.contiguous(), planes.contiguous(), *planes.shape, flipped, k, dplanes, each)
    return dplanes, each.sum(dim=0, keepdim=True)
