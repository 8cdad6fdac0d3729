"""Slots: the named places of a backbone where an attention may stand.

A backbone takes one argument, `slot: Slot`, and calls `slot("branch", channels)` at every place that it offers, with
what it knows there: the map's `downsampling`, the block's `in_channels`. It knows no attention.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

#: (place, channels, **what the backbone knows there) -> the module that stands at the place
Slot = Callable[..., nn.Module]


def no_attention(place: str, channels: int, **known: Any) -> nn.Module:
    """The default slot: identity at every place."""
    return nn.Identity()


def attend(slot: nn.Module, x: Tensor, block_input: Tensor) -> Tensor:
    """The slot's module on x; one that asked for the block's channels (PSE) sees the block's input as well."""
    return slot(x, block_input) if getattr(slot, "takes_input", False) else slot(x)
