"""Slots: the named places where a backbone calls an attention factory with its channel count.

A backbone takes one argument, `slot: Slot`, and calls `slot("branch", channels)` wherever it offers a place. It knows
no attention; an attention knows no backbone; this file knows neither.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from attnlab.attention.gate import Gate
from attnlab.construct import construct, target
from attnlab.errors import ConfigError

Slot = Callable[[str, int], nn.Module]


def no_attention(place: str, channels: int) -> nn.Module:
    """The default slot: identity at every place."""
    return nn.Identity()


def make_attention(node: Mapping[str, Any], channels: int) -> nn.Module:
    """One attention module for `channels` features, from the config node `attention`.

    With a `mask` the target is a Score, wrapped in a Gate, or a function that takes `gate` and composes gates itself;
    without one it is a plain module.
    """
    knobs = {name: value for name, value in node.items() if name not in ("mask", "apply", "place")}
    if "mask" not in node:
        return construct(knobs, "attention", channels)

    def gate(score: nn.Module) -> Gate:
        return Gate(score, construct(node["mask"], "attention.mask"), node.get("apply", "scale"))

    if "gate" in inspect.signature(target(node, "attention")).parameters:
        return construct(knobs, "attention", channels, gate=gate)
    return gate(construct(knobs, "attention", channels))


class AttentionSlots:
    """Fills the slots of one network: the configured attention at its `place`, identity everywhere else.

    Every attention is built under a forked random state of its own, so the random numbers that the backbone draws do
    not depend on the attention: at one seed, all rows of a table share their backbone weights.
    Each module is marked with `attention_place`, by which the recipe and the map recorder find it.
    """

    def __init__(self, node: Mapping[str, Any]) -> None:
        self.place: str | None = node.get("place")
        self.make = partial(make_attention, node)
        self.offered: list[str] = []
        self.filled = 0

    def __call__(self, place: str, channels: int) -> nn.Module:
        if place not in self.offered:
            self.offered.append(place)
        if place != self.place:
            return nn.Identity()
        self.filled += 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((torch.initial_seed() + 0x9E3779B9 * self.filled) % 2**63)
            module = self.make(channels)
        module.attention_place = place  # type: ignore[assignment]
        return module

    def check(self, model: str) -> None:
        """Raise ConfigError when the attention found no slot in the network just built."""
        if self.place is not None and not self.filled:
            raise ConfigError(
                f"attention.place={self.place}: {model} has no such place; it has {', '.join(self.offered)}"
            )
