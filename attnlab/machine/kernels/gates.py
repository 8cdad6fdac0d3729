"""Gates in few passes: y = x m, m = f(pooled x), where backward visits the feature map as seldom as it can.

Plain autograd turns y = x m(pool(x)) into dy m, into a feature map for the pooling's gradient, and into their sum. Here

    inside, tokens, pooled = enter(x, pooling);  m = f(*pooled);  y = leave(inside, tokens, (m,), pooling)

takes both ends as one operation: `leave` hands dy on unmultiplied (as the gradient of `inside`) and m along with it (as
the gradient of a token), and `enter`, which is called when the gradient of `pooled` is known too, writes
dx = dy m + the gradient through the pooling in one pass. Kept for backward: x, m, what was pooled. f is ordinary
autograd: any score, any mask.

`Pooling.plain` and x * m are the definition; tests/attention/test_fused.py holds the two equal. What is differentiated
twice needs the plain form (attnlab.attention.gate.plain); the fused one says so.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function

from attnlab.machine.kernels import passes

Tensors = tuple[Tensor, ...]


class Pooling(Protocol):
    """What a score sees of x (B, C, H, W), and how its masks (one or two) multiply x."""

    def plain(self, x: Tensor) -> Tensors:
        """What the score sees, in plain operations."""

    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        """The same, and what backward needs of it."""

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        """dx = dy times the masks + the gradient `grads` of what the score sees."""

    def shapes(self, x: Tensor) -> tuple[tuple[int, ...], ...]:
        """Of each mask."""

    def times(self, x: Tensor, masks: Tensors) -> Tensor:
        """x times the masks."""

    def dot(self, dy: Tensor, x: Tensor, masks: Tensors) -> Tensors:
        """The gradient of each mask."""


class _OneMask:
    def times(self, x: Tensor, masks: Tensors) -> Tensor:
        return passes.times(x, *masks)

    def dot(self, dy: Tensor, x: Tensor, masks: Tensors) -> Tensors:
        return (passes.dot(dy, x, *masks),)


class _OverPositions(_OneMask):
    def shapes(self, x: Tensor) -> tuple[tuple[int, ...], ...]:
        return ((*x.shape[:2], 1, 1),)


class Mean(_OverPositions):
    """The mean over positions, (B, C)."""

    def plain(self, x: Tensor) -> Tensors:
        return (x.mean(dim=(2, 3)),)

    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        return (passes.mean_positions(x).flatten(1),), ()

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        return passes.pool_positions_backward(dy, masks[0], grads[0][:, :, None, None], None, None)


class Max(_OverPositions):
    """The maximum over positions, (B, C); the first one has its gradient, as in max pooling."""

    def plain(self, x: Tensor) -> Tensors:
        return (x.flatten(2).max(dim=2).values,)

    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        _, most, where = passes.mean_max_positions(x)
        return (most.flatten(1),), (where,)

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        return passes.pool_positions_backward(dy, masks[0], None, grads[0][:, :, None, None], kept[0])


class MeanMax(_OverPositions):
    """Both: (B, C) twice."""

    def plain(self, x: Tensor) -> Tensors:
        return (*Mean().plain(x), *Max().plain(x))

    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        mean, most, where = passes.mean_max_positions(x)
        return (mean.flatten(1), most.flatten(1)), (where,)

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        dmean, dmost = (g[:, :, None, None] for g in grads)
        return passes.pool_positions_backward(dy, masks[0], dmean, dmost, kept[0])


class MaxMeanOverChannels(_OneMask):
    """Maximum and mean over channels, (B, 1, H, W) each; channels that share the maximum share its gradient."""

    def shapes(self, x: Tensor) -> tuple[tuple[int, ...], ...]:
        return ((x.shape[0], 1, *x.shape[2:]),)

    def plain(self, x: Tensor) -> Tensors:
        return x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)

    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        most, mean = passes.pool_channels(x)
        return (most, mean), (x, most)

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        return passes.pool_channels_backward(dy, *masks, *grads, *kept)


class MeanOverAxes:
    """The means over columns, (B, C, H, 1), and over rows, (B, C, 1, W); a mask of each shape."""

    def shapes(self, x: Tensor) -> tuple[tuple[int, ...], ...]:
        return (*x.shape[:3], 1), (*x.shape[:2], 1, x.shape[3])

    def plain(self, x: Tensor) -> Tensors:
        return x.mean(dim=3, keepdim=True), x.mean(dim=2, keepdim=True)

    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        return passes.pool_axes(x), ()

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        return passes.pool_axes_backward(dy, *masks, *grads)

    def times(self, x: Tensor, masks: Tensors) -> Tensor:
        return passes.times_axes(x, *masks)

    def dot(self, dy: Tensor, x: Tensor, masks: Tensors) -> Tensors:
        return passes.dot_axes(dy, x, *masks)


class _Enter(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, pooling: Pooling) -> Tensors:
        pooled, kept = pooling.forward(x)
        ctx.pooling = pooling
        ctx.save_for_backward(*kept)
        tokens = (x.new_empty(()).expand(shape) for shape in pooling.shapes(x))
        return x.view_as(x), *tokens, *pooled

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *given: Tensor) -> tuple[Tensor, None]:
        passes.once()
        masks = len(ctx.pooling.shapes(dy))
        return ctx.pooling.backward(dy, given[:masks], given[masks:], ctx.saved_tensors), None


class _Leave(Function):
    @staticmethod
    def forward(ctx: Any, pooling: Pooling, *inside_tokens_masks: Tensor) -> Tensor:
        # one name for all of them: dynamo drops ctx when there are as many arguments as names (torch 2.13, no gradient)
        inside, *rest = inside_tokens_masks
        masks = tuple(rest[len(rest) // 2 :])
        ctx.pooling = pooling
        ctx.save_for_backward(inside, *masks)
        return pooling.times(inside, masks)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        passes.once()
        x, *masks = ctx.saved_tensors
        if dy.stride() != x.stride():  # one layout from here on
            dy = torch.empty_like(x).copy_(dy)
        return None, dy, *masks, *ctx.pooling.dot(dy, x, tuple(masks))


def enter(x: Tensor, pooling: Pooling) -> tuple[Tensor, Tensors, Tensors]:
    """x (B, C, H, W) -> (inside, tokens) for `leave` alone, and what the pooling says of x."""
    inside, *rest = _Enter.apply(x, pooling)
    masks = len(pooling.shapes(x))
    return inside, tuple(rest[:masks]), tuple(rest[masks:])


def leave(inside: Tensor, tokens: Tensors, masks: Sequence[Tensor], pooling: Pooling) -> Tensor:
    """y = x times the masks, (B, C, H, W), which broadcast to pooling.shapes."""
    shapes = pooling.shapes(inside)
    return _Leave.apply(pooling, inside, *tokens, *(m.expand(shape) for m, shape in zip(masks, shapes, strict=True)))
