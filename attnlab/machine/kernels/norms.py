"""Batch normalisation in training and what follows it in a block, in as few passes over the map as BN alone needs.

A residual branch ends in y = relu(m BN(x) + shortcut), m = f(pool(BN(x))). BN(x) = a x + b with one a and b a channel,
so its mean over positions, and its maximum, follow from the pass over x that takes BN's statistics; and one more pass
writes y. Backward likewise: one pass takes the sums of the ReLU's gradient g and of g x image by image, from which the
gradients of m, of BN's weights and of its statistics follow, and one writes dx. So a channel gate at a branch's end
costs no pass of its own. Kept for backward: x, y, vectors. f is ordinary autograd: any score, any mask (gate.py).

The plain form is the definition, and what runs wherever norms.c does not: in eval mode, float32, NCHW, on a GPU; with
channels that are neither a divisor nor a multiple of 32; within torch.compile, a transform of torch.func or
attnlab.attention.gate.plain; for norms that are not nn.BatchNorm2d as it is born, or are watched by hooks.
tests/attention/test_norm.py holds the two equal.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._C._functorch import maybe_current_level
from torch.autograd import Function
from torch.nn.modules.module import _has_any_global_hook

from attnlab.attention.gate import Gate, PooledScore, fuses
from attnlab.machine.kernels.compile import call
from attnlab.machine.kernels.gates import Max, Mean, MeanMax, Pooling
from attnlab.machine.kernels.passes import fast, once
from attnlab.models.slots import attend

LANES = 32  # of norms.c

#: what a gate may pool of BN(x): (whether its mean, whether its maximum)
POOLED: dict[type, tuple[bool, bool]] = {Mean: (True, False), Max: (False, True), MeanMax: (True, True)}


def norm_relu(norm: nn.Module, x: Tensor) -> Tensor:
    """relu(norm(x))."""
    return _Norm.apply(x, norm.weight, norm.bias, None, norm, True) if _fits(norm, x) else F.relu(norm(x))


def norm_act(norm: nn.Module, act: nn.Module, x: Tensor) -> Tensor:
    """act(norm(x)), of modules."""
    return norm_relu(norm, x) if type(act) is nn.ReLU and not watched(act) else act(normed(norm, x))


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    """norm(x); any other module's output likewise."""
    return _Norm.apply(x, norm.weight, norm.bias, None, norm, False) if _fits(norm, x) else norm(x)


def in_turn(layers: nn.Module, x: Tensor) -> Tensor:
    """layers(x), of a Sequential whose norms may be of this file's kind."""
    if not isinstance(layers, nn.Sequential) or type(layers) is not nn.Sequential or watched(layers):
        return layers(x)
    for layer in layers:
        x = normed(layer, x)
    return x


def gated_norm(attention: nn.Module, norm: nn.Module, x: Tensor, block_input: Tensor) -> Tensor:
    """attention(norm(x)), where the attention may see the block's input too (slots.attend)."""
    gate, rest = _gate_first(attention)
    if gate is None or not _fits(norm, x):
        return attend(attention, normed(norm, x), block_input)
    y = _gated(gate, norm, x, None)
    for module in rest:
        y = module(y)
    return y


def gated_norm_add_relu(
    attention: nn.Module, norm: nn.Module, x: Tensor, block_input: Tensor, shortcut: Tensor
) -> Tensor:
    """relu(attention(norm(x)) + shortcut)."""
    gate, rest = _gate_first(attention)
    nothing = type(attention) is nn.Identity and not watched(attention)
    alone = nothing or (gate is not None and not rest)
    if not alone or not _fits(norm, x) or shortcut.shape != x.shape or shortcut.dtype != x.dtype:
        return F.relu(gated_norm(attention, norm, x, block_input) + shortcut, inplace=True)
    shortcut = shortcut.contiguous(memory_format=torch.channels_last)
    if gate is None:
        return _Norm.apply(x, norm.weight, norm.bias, shortcut, norm, True)
    return _gated(gate, norm, x, shortcut)


def watched(*modules: nn.Module) -> bool:
    """Whether someone wants to know of a module's calls, or gave it a forward of its own, so that it must be called."""
    return _has_any_global_hook() or any(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
        for module in modules
    )


def _fits(norm: nn.Module, x: Tensor) -> bool:
    """Whether norms.c does what `norm` does to x."""
    if type(norm) is not nn.BatchNorm2d or not norm.training or not fuses("norms") or watched(norm):
        return False
    if norm.momentum is None or not norm.track_running_stats or type(x) is not Tensor or x.dim() != 4:
        return False
    channels, positions = x.shape[1], x.shape[2] * x.shape[3]
    whole = channels and (channels % LANES == 0 or (LANES % channels == 0 and positions % (LANES // channels) == 0))
    if not whole or maybe_current_level() is not None:  # a transform of torch.func sees into no function of our own
        return False
    for vector in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        if vector is None or (vector.dtype, vector.device, vector.shape) != (torch.float32, x.device, (channels,)):
            return False
        if not vector.is_contiguous():
            return False
    return x.shape[0] * positions > 1 and fast(x)


def _gate_first(attention: nn.Module) -> tuple[Gate | None, Sequence[nn.Module]]:
    """The gate per channel that the attention begins with, if it does, and what comes after it."""
    if not fuses():
        return None, ()
    chain = [attention]
    if isinstance(attention, nn.Sequential) and type(attention) is nn.Sequential and not watched(attention):
        chain = list(attention)
    first, rest = chain[0] if chain else None, chain[1:]
    if type(first) is not Gate or watched(first) or getattr(first, "takes_input", False):
        return None, ()
    pooling = getattr(first.score, "pooling", None)
    return (first, rest) if type(pooling) in POOLED else (None, ())


def _gated(gate: Gate, norm: nn.Module, x: Tensor, shortcut: Tensor | None) -> Tensor:
    """gate(norm(x)), or relu(gate(norm(x)) + shortcut)."""
    assert isinstance(gate.score, PooledScore)
    inside, token, stats, *pooled = _Enter.apply(x, norm.weight, norm.bias, norm, gate.score.pooling)
    m = gate.factor(gate.score.of(*pooled), x).expand(*x.shape[:2], 1, 1)
    return _Leave.apply(inside, token, m, stats, shortcut)


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x.shape[2] * x.shape[3], x.shape[1]


def _vectors(x: Tensor, *sizes: int) -> Tensor:
    return x.new_empty(sizes, dtype=torch.float32)


def _pool(norm: Any, x: Tensor, *pooled: Tensor | None) -> tuple[Tensor, Tensor]:
    """BN's statistics, also into its running ones, and the sums over positions; `pooled`: of BN(x), to be filled."""
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
    """g = dy where the ReLU let through, as far as y tells; the token of norms.c; dm."""
    g = torch.empty_like(x) if relu and y is not None else None
    token, dm = _vectors(x, 3, x.shape[0], x.shape[1]), None if m is None else torch.empty_like(m)
    call("norm_times_backward", dy, y, x, *_sizes(x), stats, m, int(relu), g, token, dm)
    return dy if g is None else g, token, dm


def _pool_backward(
    g: Tensor, x: Tensor, stats: Tensor, sums: Tensor, token: Tensor, relu: bool, *pooled: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """dx, dweight, dbias; `pooled`: the gradients of mean and maximum, and where that is."""
    dx, dweight, dbias = torch.empty_like(x), _vectors(x, x.shape[1]), _vectors(x, x.shape[1])
    given = [None if v is None else v.contiguous() for v in pooled or (None, None, None)]
    call("norm_pool_backward", g, x, *_sizes(x), stats, sums, token, int(relu), *given, dx, dweight, dbias)
    return dx, dweight, dbias


def _dense(x: Tensor) -> Tensor:
    """x in channels_last, as norms.c takes it: gradients come in any layout, kept tensors may come back in another."""
    return x.contiguous(memory_format=torch.channels_last)


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
        x, y = _dense(x), None if y is None else _dense(y)
        g, token, _ = _times_backward(_dense(dy), y, x, stats, None, ctx.relu)
        found = _pool_backward(g, x, stats, sums, token, ctx.relu and y is None)
        return *found, None if y is None else g, None, None


class _Enter(Function):
    """x, BN's statistics, and of BN(x) what the score pools. In backward the token brings what `_Leave` has summed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: Any, pooling: Pooling) -> tuple[Tensor, ...]:
        wants = POOLED[type(pooling)]
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
        x, g, token = _dense(x), _dense(g), token.contiguous()
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
        x, y = _dense(x), None if y is None else _dense(y)
        g, token, dm = _times_backward(_dense(dy), y, x, stats, m, y is not None)
        return g, token, dm, None, None if y is None else g
