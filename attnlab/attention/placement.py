"""Placement: which of a backbone's slots (models/slots.py) holds the configured attention, and how it is built there.

A backbone knows no attention, and an attention knows no backbone. This file builds one for the other from the config.
"""

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from attnlab.attention.gate import Gate
from attnlab.attention.rezero import Eased
from attnlab.configuration.groups import choices
from attnlab.configuration.identity import OF_SLOTS
from attnlab.configuration.names import name_of
from attnlab.configuration.schema import NO_ATTENTION
from attnlab.configuration.targets import construct, target
from attnlab.errors import ConfigError

#: what a factory may ask for by naming an argument so: H = W of the maps, channels of the block's input, the stride of
#: the convolution it replaces, the attention built before it
ON_REQUEST = ("size", "in_channels", "stride", "previous")
#: between the random streams of two slots, and of two draws; torch takes the lower 32 bits of their sum
SLOT, DRAW = 0x9E3779B9, 0x85EBCA6B


def make_attention(node: Mapping[str, Any], channels: int, **known: Any) -> nn.Module:
    """One attention module for `channels` features, from the config node `attention`.

    With a `mask` the target is a Score, wrapped in a Gate, or a function that takes `gate` and composes gates itself;
    without one it is a plain module, whose class says in `no_mask` why.
    It gets those of `known` (size, in_channels, stride, previous) that it asks for.
    Raises ConfigError naming the yaml.
    """
    make = target(node, "attention")
    asked = inspect.signature(make).parameters
    knobs = {name: value for name, value in node.items() if name not in ("mask", "apply", "place", *OF_SLOTS)}
    try:
        for name in ON_REQUEST:
            if name in asked and name not in known and asked[name].default is inspect.Parameter.empty:
                raise ConfigError(f"attention.place={node.get('place')}: tells no {name} here, which it needs")
        if "mask" in node and not isinstance(node["mask"], Mapping):
            allowed = ", ".join(choices("attention/mask"))
            raise ConfigError(f"attention.mask={node['mask'] or 'null'}: attention/mask=NAME sets it, one of {allowed}")
        if "mask" in node and hasattr(make, "no_mask"):
            raise ConfigError(f"attention.mask: it has no mask and no inverse, {make.no_mask}")
        if known.get("stride") is not None and "stride" not in asked:
            raise ConfigError(f"attention.place={node.get('place')}: it cannot take the place of a convolution")
        context = {name: value for name, value in known.items() if name in asked}
        if "mask" not in node:
            return construct(knobs, "attention", channels, **context)

        def gate(score: nn.Module) -> Gate:
            return Gate(score, construct(node["mask"], "attention.mask"), node.get("apply", "scale"))

        if "gate" in asked:
            module = construct(knobs, "attention", channels, gate=gate, **context)
        else:
            module = gate(construct(knobs, "attention", channels, **context))
        module.takes_input = "in_channels" in asked and "stride" not in asked
        return module
    except ConfigError as error:
        raise ConfigError(f"attention={name_of('attention', node).split()[0]}: {error}") from error


class AttentionSlots:
    """Fills the slots of one network: the configured attention at its `place` and in its `stages`, identity elsewhere.

    A backbone without a residual branch calls its usual place by its own name, `also=("branch",)`: the attentions'
    default finds it.
    image_size: of the dataset, from which the size of every map follows.
    Every attention is built under a forked random state of its own, so the random numbers that the backbone draws do
    not depend on the attention: at one seed, all rows of a table share their backbone weights. `draw` names another
    such state: a twin, the same attention with other initial weights.
    Each module is marked with `attention_place`, by which the recipe and the map recorder find it.
    """

    def __init__(self, node: Mapping[str, Any], image_size: int) -> None:
        self.name = "none" if node["_target_"] == NO_ATTENTION else name_of("attention", node).split()[0]
        self.place: str | None = node.get("place")
        self.stages: list[int] | None = node.get("stages")
        self.start: str | None = node.get("start")
        self.draw: int | None = node.get("draw")
        self.make = partial(make_attention, node)
        self.image_size = image_size
        self.offered: dict[str, set[int]] = {}  # place -> the stages that have it
        self.filled = 0
        self.has_twin = False  # whether another draw is another net
        self.previous: nn.Module | None = None

    def __call__(
        self,
        place: str,
        channels: int,
        *,
        stage: int,
        also: Sequence[str] = (),
        downsampling: int | None = None,
        **known: Any,
    ) -> nn.Module:
        for name in (place, *also):
            self.offered.setdefault(name, set()).add(stage)
        if self.place not in (place, *also) or (self.stages is not None and stage not in self.stages):
            return nn.Identity()
        self.filled += 1
        if downsampling is not None:
            known["size"] = -(-self.image_size // downsampling)  # `same`-padded strides round up
        module = self._drawn(self.draw, channels, known)
        if self.draw is not None and not self.has_twin:
            with torch.device("cpu"):  # weights of a net that is built without memory cannot be compared
                states = [self._drawn(draw, channels, known).state_dict() for draw in (None, self.draw)]
            self.has_twin = any(not torch.equal(states[0][name], states[1][name]) for name in states[0])
        self.previous = module.score if isinstance(module, Gate) else module
        if self.start == "identity":
            if "stride" in known:
                raise ConfigError(
                    f"attention={self.name}: attention.start=identity: what takes the place of a convolution cannot "
                    "begin as one; allowed is null"
                )
            module = Eased(module)
        module.attention_place = place  # type: ignore[assignment]
        return module

    def _drawn(self, draw: int | None, channels: int, known: Mapping[str, Any]) -> nn.Module:
        """The attention of the slot just counted, under the random state of a draw."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((torch.initial_seed() + SLOT * self.filled + DRAW * (draw or 0)) % 2**63)
            return self.make(channels, previous=self.previous, **known)

    def check(self, model: str) -> None:
        """Raise ConfigError when attention has no place, or the network just built lacks it, or one of the stages; and
        when its twin would be itself, whose difference would pass for a noise floor of 0.

        `none` has no place, and may have stages and a draw: in a sweep over attentions it is the baseline of them all.
        """
        places = ", ".join(self.offered)
        if self.place is None and self.name != "none":
            raise ConfigError(f"attention={self.name}: attention.place=null: allowed in {model} are {places}")
        if self.place is not None and self.place not in self.offered:
            place = f"attention={self.name}: attention.place={self.place}"
            raise ConfigError(f"{place}: {model} has no such place; it has {places}")
        if self.draw is not None and self.filled and not self.has_twin:
            raise ConfigError(
                f"attention={self.name}: attention.draw={self.draw}: none of its weights is drawn at random, so this "
                "twin would be the same run under another id; allowed is null"
            )
        if self.stages is None or self.place is None:
            return
        there = sorted(self.offered[self.place])
        if not set(self.stages) <= set(there):
            allowed = f"{model} has place {self.place} in stages {', '.join(map(str, there))}"
            raise ConfigError(f"attention.stages={self.stages}: {allowed}")
