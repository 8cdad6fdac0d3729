"""Batch normalisation in training and what follows it in a block, in as few passes over the map as BN itself needs.

A residual branch ends in y = relu(m BN(x) + shortcut), m = f(squeeze(BN(x))). BN(x) = a x + b with one a and b per
channel, so its mean and maximum over positions follow from the pass over x that takes BN's statistics. One more pass
writes y. Backward: one pass takes the sums of the ReLU's gradient g and of g x, image by image; from these follow the
gradients of m, of BN's weights and of its statistics. One more pass writes dx. So BN, gate, addition and ReLU take two
passes each way, as many as BN itself, and a channel gate adds none. Kept for backward: x, y, vectors. f is ordinary
autograd, so any score and any mask will do.

PyTorch's own BN runs where norms.c does not apply (_suits), e.g. with channels that are neither a divisor nor a
multiple of 32, or for a norm without running statistics or with hooks.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from attnlab import layers
from attnlab.machine.kernels.compile import call
from attnlab.machine.kernels.fused import Fused, dense, is_fast, once, trains_eagerly, watched
from attnlab.machine.kernels.gates import Gate

LANES = 32  # of norms.c

#: what a gate may squeeze from BN(x) -> (whether its mean, whether its maximum)
SQUEEZED: dict[type, tuple[bool, bool]] = {
    layers.Mean: (True, False),
    layers.Max: (False, True),
    layers.MeanMax: (True, True),
}


class BatchNorm(Fused):
    """The fused form of nn.BatchNorm2d."""

    weight: Tensor
    bias: Tensor

    def fused(self, x: Tensor) -> Tensor:
        return _Norm.apply(x, self.weight, self.bias, None, self, False) if _suits(self, x) else self.plain(x)


def norm_relu(norm: nn.Module, x: Tensor) -> Tensor:
    """relu(norm(x))."""
    return _Norm.apply(x, norm.weight, norm.bias, None, norm, True) if _suits(norm, x) else F.relu(norm(x))


def norm_act(norm: nn.Module, act: nn.Module, x: Tensor) -> Tensor:
    """act(norm(x)), of modules."""
    return norm_relu(norm, x) if type(act) is nn.ReLU and not watched(act) else act(norm(x))


def attend(attention: nn.Module, x: Tensor, block_input: Tensor) -> Tensor:
    """models.slots.attend, which this room may not import: attention(x), or attention(x, block_input)."""
    return attention(x, block_input) if getattr(attention, "takes_input", False) else attention(x)


def norm_gate(attention: nn.Module, norm: nn.Module, x: Tensor, block_input: Tensor) -> Tensor:
    """attention(norm(x)); an attention that takes the block's input gets it."""
    gate, rest = _gate_first(attention)
    if gate is None or not _suits(norm, x):
        return attend(attention, norm(x), block_input)
    y = _gated(gate, norm, x, None)
    for module in rest:
        y = module(y)
    return y


def norm_gate_add_relu(
    attention: nn.Module, norm: nn.Module, x: Tensor, block_input: Tensor, shortcut: Tensor
) -> Tensor:
    """relu(attention(norm(x)) + shortcut)."""
    gate, rest = _gate_first(attention)
    joined = is_nothing(attention) or (gate is not None and not rest)
    if not joined or not _suits(norm, x) or shortcut.shape != x.shape or shortcut.dtype != x.dtype:
        return F.relu(norm_gate(attention, norm, x, block_input) + shortcut, inplace=True)
    if gate is None:
        return _Norm.apply(x, norm.weight, norm.bias, dense(shortcut), norm, True)
    return _gated(gate, norm, x, dense(shortcut))


def is_nothing(module: nn.Module) -> bool:
    """Whether the module is an identity that nobody watches."""
    return type(module) is nn.Identity and not watched(module)


def _suits(norm: nn.Module, x: Tensor) -> bool:
    """Whether norms.c computes what `norm` does to x, and nobody watches `norm`."""
    if not isinstance(norm, BatchNorm) or not trains_eagerly(norm, x) or watched(norm):
        return False
    if norm.momentum is None or not norm.track_running_stats or x.dim() != 4:
        return False
    channels, positions = x.shape[1], x.shape[2] * x.shape[3]
    if not channels or (channels % LANES and (LANES % channels or positions % (LANES // channels))):
        return False
    for vector in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        if vector is None or (vector.dtype, vector.device, vector.shape) != (torch.float32, x.device, (channels,)):
            return False
        if not vector.is_contiguous():
            return False
    return x.shape[0] * positions > 1 and is_fast(x)


def _gate_first(attention: nn.Module) -> tuple[Gate | None, Sequence[nn.Module]]:
    """The fused channel gate that the attention begins with, if it does, and what comes after it."""
    chain = [attention]
    if type(attention) is nn.Sequential and not watched(attention):
        chain = list(attention)
    first, rest = chain[0] if chain else None, chain[1:]
    if not isinstance(first, Gate) or not first.training or getattr(first, "takes_input", False):
        return None, ()
    if type(first.score.squeeze) not in SQUEEZED or watched(first, first.score, first.score.squeeze):
        return None, ()
    return first, rest


def _gated(gate: Gate, norm: nn.Module, x: Tensor, shortcut: Tensor | None) -> Tensor:
    """gate(norm(x)), or relu(gate(norm(x)) + shortcut)."""
    wants = SQUEEZED[type(gate.score.squeeze)]
    inside, token, stats, *squeezed = _Enter.apply(x, norm.weight, norm.bias, norm, wants)
    m = gate.factor_of(tuple(squeezed), x).expand(*x.shape[:2], 1, 1)
    return _Leave.apply(inside, token, m, stats, shortcut)


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x.shape[2] * x.shape[3], x.shape[1]


def _vectors(x: Tensor, *sizes: int) -> Tensor:
    return x.new_empty(sizes, dtype=torch.float32)


def _pool(norm: Any, x: Tensor, *pooled: Tensor | None) -> tuple[Tensor, Tensor]:
    """BN's statistics and the sums over positions; updates the running statistics and fills `pooled`, of BN(x)."""
    stats, sums = _vectors(x, 5, x.shape[1]), _vectors(x, *x.shape[:2])
    given = norm.weight, norm.bias, norm.running_mean, norm.running_var, float(norm.eps), float(norm.momentum)
    call("norm_pool", x, *_sizes(x), *given, stats, sums, *(pooled or (None, None, None)))
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    return stats, sums


def _times(x: Tensor, stats: Tensor, m: Tensor | None, shortcut: Tensor | None, relu: bool) -> Tensor:
    y = torch.empty_like(x)
    call("norm_times", x, *_sizes(x), stats, m, shortcut, int(relu), y)
    return y


def _times_backward(
    dy: Tensor, y: Tensor | None, x: Tensor, stats: Tensor, m: Tensor | None, relu: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """g = dy where the ReLU passed its input, if y is given; the token of norms.c; dm."""
    g = torch.empty_like(x) if relu and y is not None else None
    token, dm = _vectors(x, 3, x.shape[0], x.shape[1]), None if m is None else torch.empty_like(m)
    call("norm_times_backward", dy, y, x, *_sizes(x), stats, m, int(relu), g, token, dm)
    return dy if g is None else g, token, dm


def _pool_backward(
    g: Tensor, x: Tensor, stats: Tensor, sums: Tensor, token: Tensor, relu: bool, *pooled: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """dx, dweight, dbias; `pooled`: the gradients of mean and maximum, and the position of the maximum."""
    dx, dweight, dbias = torch.empty_like(x), _vectors(x, x.shape[1]), _vectors(x, x.shape[1])
    given = [None if v is None else v.contiguous() for v in pooled or (None, None, None)]
    call("norm_pool_backward", g, x, *_sizes(x), stats, sums, token, int(relu), *given, dx, dweight, dbias)
    return dx, dweight, dbias


class _Norm(Function):
    """norm(x), relu(norm(x)) or relu(norm(x) + shortcut)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, shortcut: Tensor | None, norm: Any, relu: bool
    ) -> Tensor:
        stats, sums = _pool(norm, x)
        y = _times(x, stats, None, shortcut, relu)
        ctx.relu = relu
        ctx.save_for_backward(x, stats, sums, None if shortcut is None else y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        once()
        x, stats, sums, y = ctx.saved_tensors
        x, y = dense(x), None if y is None else dense(y)
        g, token, _ = _times_backward(dense(dy), y, x, stats, None, ctx.relu)
        found = _pool_backward(g, x, stats, sums, token, ctx.relu and y is None)
        return *found, None if y is None else g, None, None


class _Enter(Function):
    """x, BN's statistics, and what is squeezed from BN(x). In backward the token carries the sums of `_Leave`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: Any, wants: tuple[bool, bool]
    ) -> tuple[Tensor, ...]:
        mean, most = (x.new_empty(*x.shape[:2]) if wanted else None for wanted in wants)
        place = x.new_empty(*x.shape[:2], dtype=torch.int64) if wants[1] else None
        stats, sums = _pool(norm, x, mean, most, place)
        ctx.wants = wants
        ctx.save_for_backward(x, stats, sums, place)
        ctx.mark_non_differentiable(stats)
        token = _vectors(x).expand(3, *x.shape[:2])
        return x.view_as(x), token, stats, *(v for v in (mean, most) if v is not None)

    @staticmethod
    def backward(ctx: Any, g: Tensor, token: Tensor, _: Tensor, *given: Tensor) -> tuple[Tensor | None, ...]:
        once()
        x, stats, sums, place = ctx.saved_tensors
        x, g, token = dense(x), dense(g), token.contiguous()
        grads = iter(given)
        dmean, dmost = (next(grads) if wanted else None for wanted in ctx.wants)
        return *_pool_backward(g, x, stats, sums, token, False, dmean, dmost, place), None, None


class _Leave(Function):
    """m BN(x), or relu(m BN(x) + shortcut), from what `_Enter` gave and m (B, C, 1, 1)."""

    @staticmethod
    def forward(ctx: Any, inside: Tensor, token: Tensor, m: Tensor, stats: Tensor, shortcut: Tensor | None) -> Tensor:
        m = m.contiguous()
        y = _times(inside, stats, m, shortcut, shortcut is not None)
        ctx.save_for_backward(inside, m, stats, None if shortcut is None else y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        once()
        x, m, stats, y = ctx.saved_tensors
        x, y = dense(x), None if y is None else dense(y)
        g, token, dm = _times_backward(dense(dy), y, x, stats, m, y is not None)
        return g, token, dm, None, None if y is None else g
