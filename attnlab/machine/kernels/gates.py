"""Fused gates: y = x m, m = f(squeeze(x)), with as few passes over the map x as possible.

Plain autograd computes dy m, then a map for the gradient of the squeeze, then their sum. Here

    inside, tokens, squeezed = enter(x, squeeze);  m = f(squeezed);  y = leave(inside, tokens, (m,), squeeze)

joins both ends of the gate into one operation. In backward, `leave` returns dy unmultiplied as the gradient of `inside`
and m as the gradient of a token. `enter` runs when the gradient of `squeezed` is known too, and writes
dx = dy m + the gradient through the squeeze in one pass. Kept for backward: x, m, and the positions of maxima. f is
ordinary autograd, so any score and any mask will do.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn
from torch.autograd import Function

from attnlab import layers
from attnlab.machine.kernels import passes
from attnlab.machine.kernels.fused import Fused, dense, is_fast, once, watched

Tensors = tuple[Tensor, ...]


class Squeeze(Protocol):
    """The passes of one squeeze of x (B, C, H, W), and of the masks (one or two) that multiply x."""

    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        """What is squeezed from x, and what backward needs of it."""

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        """dx = dy times the masks + the gradient through the squeeze, whose results have the gradients `grads`."""

    def shapes(self, x: Tensor) -> tuple[tuple[int, ...], ...]:
        """The shape of each mask."""

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


class _Mean(_OverPositions):
    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        return (passes.mean_positions(x).flatten(1),), ()

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        return passes.pool_positions_backward(dy, masks[0], grads[0][:, :, None, None], None, None)


class _Max(_OverPositions):
    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        _, most, where = passes.mean_max_positions(x)
        return (most.flatten(1),), (where,)

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        return passes.pool_positions_backward(dy, masks[0], None, grads[0][:, :, None, None], kept[0])


class _MeanMax(_OverPositions):
    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        mean, most, where = passes.mean_max_positions(x)
        return (mean.flatten(1), most.flatten(1)), (where,)

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        dmean, dmost = (g[:, :, None, None] for g in grads)
        return passes.pool_positions_backward(dy, masks[0], dmean, dmost, kept[0])


class _MaxMeanOverChannels(_OneMask):
    def shapes(self, x: Tensor) -> tuple[tuple[int, ...], ...]:
        return ((x.shape[0], 1, *x.shape[2:]),)

    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        most, mean = passes.max_mean_channels(x)
        return (most, mean), (x, most)

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        (m,), (dmost, dmean), (x, most) = masks, grads, kept
        return passes.pool_channels_backward(dy, m, dmost, dmean, dense(x), most)


class _MeanOverAxes:
    def shapes(self, x: Tensor) -> tuple[tuple[int, ...], ...]:
        return (*x.shape[:3], 1), (*x.shape[:2], 1, x.shape[3])

    def forward(self, x: Tensor) -> tuple[Tensors, Tensors]:
        return passes.mean_axes(x), ()

    def backward(self, dy: Tensor, masks: Tensors, grads: Tensors, kept: Tensors) -> Tensor:
        return passes.mean_axes_backward(dy, *masks, *grads)

    def times(self, x: Tensor, masks: Tensors) -> Tensor:
        return passes.times_axes(x, *masks)

    def dot(self, dy: Tensor, x: Tensor, masks: Tensors) -> Tensors:
        return passes.dot_axes(dy, x, *masks)


#: a score's squeeze -> its passes
SQUEEZES: dict[type[nn.Module], Squeeze] = {
    layers.Mean: _Mean(),
    layers.Max: _Max(),
    layers.MeanMax: _MeanMax(),
    layers.MaxMeanOverChannels: _MaxMeanOverChannels(),
}


class _Enter(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, squeeze: Squeeze) -> Tensors:
        squeezed, kept = squeeze.forward(x)
        ctx.squeeze = squeeze
        ctx.save_for_backward(*kept)
        tokens = (x.new_empty(()).expand(shape) for shape in squeeze.shapes(x))
        return x.view_as(x), *tokens, *squeezed

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *given: Tensor) -> tuple[Tensor, None]:
        once()
        masks = len(ctx.squeeze.shapes(dy))
        return ctx.squeeze.backward(dense(dy), given[:masks], given[masks:], ctx.saved_tensors), None


class _Leave(Function):
    @staticmethod
    def forward(ctx: Any, squeeze: Squeeze, inside: Tensor, *tokens_and_masks: Tensor) -> Tensor:
        masks = tokens_and_masks[len(tokens_and_masks) // 2 :]
        ctx.squeeze = squeeze
        ctx.save_for_backward(inside, *masks)
        return squeeze.times(inside, masks)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        once()
        x, *masks = ctx.saved_tensors
        dy = dense(dy)
        return None, dy, *masks, *ctx.squeeze.dot(dy, dense(x), tuple(masks))


def enter(x: Tensor, squeeze: Squeeze) -> tuple[Tensor, Tensors, Tensors]:
    """x (B, C, H, W) -> (inside, tokens), both for `leave` only, and what is squeezed from x."""
    inside, *rest = _Enter.apply(x, squeeze)
    masks = len(squeeze.shapes(x))
    return inside, tuple(rest[:masks]), tuple(rest[masks:])


def leave(inside: Tensor, tokens: Tensors, masks: Sequence[Tensor], squeeze: Squeeze) -> Tensor:
    """y = x times the masks, (B, C, H, W); the masks broadcast to squeeze.shapes."""
    shapes = squeeze.shapes(inside)
    return _Leave.apply(squeeze, inside, *tokens, *(m.expand(shape) for m, shape in zip(masks, shapes, strict=True)))


class Gate(Fused):
    """The fused form of attention.gate.Gate whose score has a known squeeze and sees x only through it.

    Such a score is score(x) = score.from_squeezed(score.squeeze(x)).
    """

    replaces = "568cd006"

    @classmethod
    def fits(cls, module: nn.Module) -> bool:
        return squeeze_of(module) in SQUEEZES

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        return super().forward(x) if source is None else self.plain(x, source)

    def fused(self, x: Tensor) -> Tensor:
        if not is_fast(x) or watched(self.score, self.score.squeeze):
            return self.plain(x)
        squeeze = SQUEEZES[type(self.score.squeeze)]
        inside, tokens, squeezed = enter(x, squeeze)
        return leave(inside, tokens, (self.factor_of(squeezed, x),), squeeze)

    def factor_of(self, squeezed: Tensors, x: Tensor) -> Tensor:
        """What x is multiplied by, from what is squeezed from it."""
        z = self.score.from_squeezed(squeezed if len(squeezed) > 1 else squeezed[0])
        return self.factor(z, x)


def squeeze_of(gate: nn.Module) -> type | None:
    """The class of the gate's squeeze, if score(x) = score.from_squeezed(score.squeeze(x)); otherwise None."""
    owners = {
        name: next((cls for cls in type(gate.score).__mro__ if name in vars(cls)), None)
        for name in ("forward", "from_squeezed")
    }  # a subclass with a forward of its own is another formula
    known = owners["from_squeezed"] is not None and owners["from_squeezed"] is owners["forward"]
    return type(gate.score.squeeze) if known and hasattr(gate.score, "squeeze") else None


class Coordinate(Fused):
    """The fused form of attention.coordinate.Coordinate."""

    replaces = "cb50261e"

    @classmethod
    def fits(cls, module: nn.Module) -> bool:
        return type(module.squeeze) is layers.MeanOverAxes

    def fused(self, x: Tensor) -> Tensor:
        if not is_fast(x) or watched(self.squeeze):
            return self.plain(x)
        axes = _MeanOverAxes()
        inside, tokens, squeezed = enter(x, axes)
        return leave(inside, tokens, self.factors(squeezed, x), axes)
