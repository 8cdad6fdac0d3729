"""One pass over a feature map x (B, C, H, W) each: sums over positions or channels, products with what broadcasts.

The last line of each function is its plain form. On bfloat16 maps in channels_last on a CPU those cost three to twenty
times a copy of the map (a sum goes through a float32 copy of it; a broadcast over 16 channels, or of one value a
position, runs element by element); there, passes.c does the same at about the cost of a copy, with sums in float32 that
are rounded once.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlab.machine.kernels import bindings
from attnlab.machine.kernels.compile import available


def suits(*tensors: Tensor) -> bool:
    """Whether passes.c takes them: bfloat16, on a CPU, and a compiler for it was found."""
    for x in tensors:
        if x.dtype != torch.bfloat16 or x.device.type != "cpu" or x.numel() == 0:
            return False
    return available()


def fast(*maps: Tensor) -> bool:
    """Whether passes.c takes these maps: in channels_last besides."""
    return suits(*maps) and all(x.is_contiguous(memory_format=torch.channels_last) for x in maps)


def mean_positions(x: Tensor) -> Tensor:
    """The mean over positions, (B, C, 1, 1)."""
    return bindings.mean_positions(x) if fast(x) else x.mean(dim=(2, 3), keepdim=True)


def mean_max_positions(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and maximum over positions, and where the maximum first is, i W + j: (B, C, 1, 1) each."""
    if fast(x):
        return bindings.mean_max_positions(x)
    most, where = x.flatten(2).max(dim=2)
    return x.mean(dim=(2, 3), keepdim=True), most[:, :, None, None], where[:, :, None, None]


def pool_channels(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum and mean over channels: (B, 1, H, W) each."""
    return bindings.pool_channels(x) if fast(x) else (x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True))


def times(x: Tensor, m: Tensor) -> Tensor:
    """x m; m (B, C, 1, 1) or (B, 1, H, W)."""
    return bindings.times(x, m) if fast(x) else x * m


def dot(a: Tensor, b: Tensor, m: Tensor) -> Tensor:
    """The sum of a b over positions or channels, whichever m lacks: (B, C, 1, 1) or (B, 1, H, W)."""
    over_positions = m.shape[1] == a.shape[1]
    if fast(a, b):
        return bindings.dot_positions(a, b) if over_positions else bindings.dot_channels(a, b)
    return (a * b).sum(dim=(2, 3) if over_positions else 1, keepdim=True)


def pool_positions_backward(
    dy: Tensor, m: Tensor, dmean: Tensor | None, dmost: Tensor | None, where: Tensor | None
) -> Tensor:
    """dy m + dmean / (H W), with dmost added at the positions `where`; m and all these (B, C, 1, 1)."""
    share = None if dmean is None else dmean / (dy.shape[2] * dy.shape[3])
    if fast(dy):
        return bindings.pool_positions_backward(dy, m, share, dmost, where)
    dx = dy * m if share is None else torch.addcmul(share, dy, m)
    if dmost is None or where is None:
        return dx
    return dx.flatten(2).scatter_add(2, where.flatten(2), dmost.flatten(2)).view_as(dx)


def pool_channels_backward(dy: Tensor, m: Tensor, dmost: Tensor, dmean: Tensor, x: Tensor, most: Tensor) -> Tensor:
    """dy m + dmean / C, with dmost shared among the channels where x is `most`; m and all these (B, 1, H, W)."""
    share = dmean / x.shape[1]
    if fast(dy, x):
        return bindings.pool_channels_backward(dy, m, share, dmost, x, most)
    there = x == most
    return dy * m + share + there * (dmost / there.sum(dim=1, keepdim=True)).to(dy.dtype)


def _as_axes(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """(B, H, C), (B, W, C) -> (B, C, H, 1), (B, C, 1, W)."""
    return rows.transpose(1, 2)[..., None], columns.transpose(1, 2)[:, :, None]


def pool_axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over columns, (B, C, H, 1), and over rows, (B, C, 1, W)."""
    return _as_axes(*bindings.pool_axes(x)) if fast(x) else (x.mean(dim=3, keepdim=True), x.mean(dim=2, keepdim=True))


def times_axes(x: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """x p q; p (B, C, H, 1), q (B, C, 1, W)."""
    return bindings.times_axes(x, p, q, None, None) if fast(x) else x * p * q


def dot_axes(dy: Tensor, x: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over columns of dy x q, (B, C, H, 1), and over rows of dy x p, (B, C, 1, W)."""
    if fast(dy, x):
        return _as_axes(*bindings.dot_axes(dy, x, p, q))
    product = dy * x
    return (product * q).sum(dim=3, keepdim=True), (product * p).sum(dim=2, keepdim=True)


def pool_axes_backward(dy: Tensor, p: Tensor, q: Tensor, drows: Tensor, dcolumns: Tensor) -> Tensor:
    """dy p q + drows / W + dcolumns / H."""
    drows, dcolumns = drows / dy.shape[3], dcolumns / dy.shape[2]
    return bindings.times_axes(dy, p, q, drows, dcolumns) if fast(dy) else dy * p * q + drows + dcolumns


def once() -> None:
    """Raise RuntimeError where a second derivative is asked for, which backward passes written by hand have not."""
    if torch.is_grad_enabled():
        way = "`with attnlab.attention.gate.plain():` around the net"
        raise RuntimeError(f"a fused gate or norm is differentiable once: {way}")


class _ConvPlanes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, planes: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(planes, weight)
        return bindings.conv_planes(planes, weight)

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:
        once()
        return bindings.conv_planes_backward(dout, *ctx.saved_tensors)


def conv_planes(planes: Tensor, weight: Tensor) -> Tensor:
    """(B, P, H, W), (1, P, k, k) -> (B, 1, H, W): a `same` convolution; oneDNN is slow at few planes."""
    if suits(planes) and weight.dtype == torch.float32:
        return _ConvPlanes.apply(planes, weight)
    return F.conv2d(planes, weight, padding=weight.shape[2] // 2)
