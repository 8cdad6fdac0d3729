"""Offer places for attention in a network that was not written for attnlab: at the ends of its blocks, or by pattern.

A stage is a run of blocks whose maps have one size, so every stage but the first begins with a stride.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError
from attnlab.models.block_ends import block_ends
from attnlab.models.insertion import insert, matching, not_a_map, place_of, shapes
from attnlab.models.slots import Slot

AFTER = "attention.after"
#: places that an attention may have in its yaml; with a pattern, the pattern decides where it stands
ANYWHERE = ("branch", "post", "stage", "conv", "inner", "pre", "shortcut")


def offer_places(net: nn.Module, slot: Slot, run: Callable[[], Any], after: str | list[str] | None = None) -> None:
    """Call `slot` for places of a network, and put what it returns behind the modules there.

    after: None offers `post`, also called `branch`, at the end of each block, and `stage` at the end of each stage but
    the last. A pattern (see insertion.matching) offers only the modules that it names, under every place's name.
    run: makes one forward pass with images of the size that the network is built for; the sizes of its maps follow.
    Raises ConfigError for a pattern that fits no module, and for a named module whose output is no feature map.
    """
    named = block_ends(net) if after is None else matching(net, after, AFTER)
    ends = list(dict.fromkeys(place_of(net, name, AFTER) for name in named))
    outputs = shapes(net, ends, run)
    maps: dict[str, tuple[int, ...]] = {}
    for name in [*outputs, *(name for name in ends if name not in outputs)]:  # in running order
        shape = outputs.get(name, [])
        if reason := not_a_map(net.get_submodule(name), shape):
            if after is not None:
                raise ConfigError(f"{wrong_value(AFTER, name, 'a module that gives a feature map')}; {reason}")
        else:
            maps[name] = shape[0]  # type: ignore[assignment]  # not_a_map excludes None
    sizes = list(dict.fromkeys(shape[2:] for shape in maps.values()))
    last_of_stage = {shape[2:]: name for name, shape in maps.items()}
    for name, (_, channels, *size) in maps.items():
        stage = 1 + sizes.index(tuple(size))
        known: dict[str, Any] = {"stage": stage} | ({"size": size[0]} if size[0] == size[1] else {})
        offered = [slot("post", channels, also=("branch",) if after is None else ANYWHERE, **known)]
        if after is None and stage < len(sizes) and last_of_stage[tuple(size)] == name:
            offered.append(slot("stage", channels, **known))
        for module in offered:
            if not isinstance(module, nn.Identity):
                insert(net, name, module)
