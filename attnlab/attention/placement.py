"""Build the configured attention in the slots of a backbone (models/slots.py).

A backbone knows no attention, and an attention knows no backbone.
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

#: arguments that a factory gets if its signature names them: H = W of the maps, channels of the block's input, the
#: stride of the convolution that it replaces, the attention built before it
ON_REQUEST = ("size", "in_channels", "stride", "previous")
#: between the random streams of two slots, and of two draws; torch takes the lower 32 bits of their sum
SLOT, DRAW = 0x9E3779B9, 0x85EBCA6B


def make_attention(node: Mapping[str, Any], channels: int, **known: Any) -> nn.Module:
    """One attention module for `channels` features, from the config node `attention`.

    With a `mask` the target is a score, which is wrapped in a Gate, or a function that takes `gate` and builds its own
    gates. Without one it is a module x -> y; the attribute `no_mask` of its class gives the reason.
    The target gets those of `known` (size, in_channels, stride, previous) that its signature names.
    Raises ConfigError that names the yaml.
    """
    make = target(node, "attention")
    wanted = inspect.signature(make).parameters
    knobs = {name: value for name, value in node.items() if name not in ("mask", "apply", "place", *OF_SLOTS)}
    try:
        for name in ON_REQUEST:
            if name in wanted and name not in known and wanted[name].default is inspect.Parameter.empty:
                raise ConfigError(
                    f"wrong value attention.place={node.get('place')}; this place has no {name}, which it needs"
                )
        if "mask" in node and not isinstance(node["mask"], Mapping):
            allowed = ", ".join(choices("attention/mask"))
            raise ConfigError(
                f"wrong value attention.mask={node['mask'] or 'null'}; attention/mask=NAME sets it: {allowed}"
            )
        if "mask" in node and hasattr(make, "no_mask"):
            raise ConfigError(f"unknown key attention.mask; it has no mask and no inverse, {make.no_mask}")
        if known.get("stride") is not None and "stride" not in wanted:
            raise ConfigError(
                f"wrong value attention.place={node.get('place')}; it cannot take the place of a convolution"
            )
        context = {name: value for name, value in known.items() if name in wanted}
        if "mask" not in node:
            return construct(knobs, "attention", channels, **context)

        def gate(score: nn.Module) -> Gate:
            return Gate(score, construct(node["mask"], "attention.mask"), node.get("apply", "scale"))

        if "gate" in wanted:
            module = construct(knobs, "attention", channels, gate=gate, **context)
        else:
            module = gate(construct(knobs, "attention", channels, **context))
        module.takes_input = "in_channels" in wanted and "stride" not in wanted
        return module
    except ConfigError as error:
        raise ConfigError(f"{error} (attention={name_of('attention', node).split()[0]})") from error


class AttentionSlots:
    """Fills the slots of one network: the configured attention at its `place` and in its `stages`, identity elsewhere.

    Most attentions stand at `branch`. A backbone without a residual branch gives its usual place that name as well.
    image_size: of the dataset, in pixels; the sizes of all maps follow from it.
    Every attention is built under a forked random state of its own, so the random numbers that the backbone draws do
    not depend on the attention: at one seed, all rows of a table share their backbone weights. `draw` selects another
    state: the same attention with other initial weights, called a twin.
    Each module gets the attribute `attention_place`, by which the recipe and the map recorder find it.
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
        self.has_twin = False  # whether another draw gives other weights
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
            with torch.device("cpu"):  # on the meta device weights cannot be compared
                states = [self._drawn(draw, channels, known).state_dict() for draw in (None, self.draw)]
            self.has_twin = any(not torch.equal(states[0][name], states[1][name]) for name in states[0])
        self.previous = module.score if isinstance(module, Gate) else module
        if self.start == "identity":
            if "stride" in known:
                raise ConfigError(
                    "wrong value attention.start=identity; what takes the place of a convolution cannot begin as an "
                    f"identity; allowed is null (attention={self.name})"
                )
            module = Eased(module)
        module.attention_place = place  # type: ignore[assignment]
        return module

    def _drawn(self, draw: int | None, channels: int, known: Mapping[str, Any]) -> nn.Module:
        """The attention of the current slot (self.filled), built under the random state of a draw."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((torch.initial_seed() + SLOT * self.filled + DRAW * (draw or 0)) % 2**63)
            return self.make(channels, previous=self.previous, **known)

    def check(self, model: str) -> None:
        """Raise ConfigError if the attention has no place, or the network lacks this place or one of the stages.

        Also if a twin would equal the attention itself: their difference would look like a noise floor of 0.
        `none` has no place, and may have stages and a draw, since in a sweep over attentions it is the baseline of all.
        """
        places = ", ".join(self.offered)
        if self.place is None and self.name != "none":
            raise ConfigError(
                f"wrong value attention.place=null; allowed in {model} are {places} (attention={self.name})"
            )
        if self.place is not None and self.place not in self.offered:
            place = f"wrong value attention.place={self.place}"
            raise ConfigError(f"{place}; {model} has no such place; it has {places} (attention={self.name})")
        if self.draw is not None and self.filled and not self.has_twin:
            raise ConfigError(
                f"wrong value attention.draw={self.draw}; none of its weights is drawn at random, so this twin "
                "would be "
                f"the same run under another id; allowed is null (attention={self.name})"
            )
        if self.stages is None or self.place is None:
            return
        there = sorted(self.offered[self.place])
        if not set(self.stages) <= set(there):
            allowed = f"{model} has place {self.place} in stages {', '.join(map(str, there))}"
            raise ConfigError(f"wrong value attention.stages={self.stages}; {allowed}")
