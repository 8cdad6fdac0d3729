"""Slots: how a backbone asks for the module that stands at one of its named places.

A backbone takes one argument, `slot: Slot`, and calls it at every place it offers, e.g. `slot("branch", channels)`,
together with what it knows there: the map's `downsampling`, the block's `in_channels`. It knows no attention.
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
    """slot(x), or slot(x, block_input) for an attention that also sees the input of the block (PSE)."""
    return slot(x, block_input) if getattr(slot, "takes_input", False) else slot(x)
