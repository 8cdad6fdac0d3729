"""Which run is this? The id of what decides a run's result."""

from collections.abc import Mapping
from typing import Any

from attnlab.configuration.compose import plain
from attnlab.configuration.digest import canonical, digest
from attnlab.configuration.schema import NO_ATTENTION

#: the sections of a config that decide the result
SECTIONS = ("dataset", "model", "attention", "head", "recipe")
#: keys that decide nothing. Where the data are stored and how they are read does not change what is learnt from them; a
#: model's own weight decay does only where the recipe refers to it, and then it is in the recipe too. A model's
#: `checkpoint` is a path, whose digest is in `weights`; its `after` is that of the attention.
NOT_SCIENCE = {"dataset": ("root", "cache", "in_memory"), "model": ("weight_decay", "checkpoint", "after")}
#: keys of attention, besides `place`, that the slots read and no attention's constructor; of attention=none they decide
#: nothing
OF_SLOTS = ("stages", "start", "draw", "after")


def science(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the result: dataset, model, attention, head, recipe, seed, and the run that gave the first weights,
    if any. Neither machine nor precision nor a path is in it."""
    values = plain(cfg)
    parts = {section: decisive(section, values[section]) for section in SECTIONS}
    return canonical(parts | {"start_from": values.get("start_from")}) | {"seed": values["seed"]}


def decisive(section: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a section that decide the result."""
    none = section == "attention" and node.get("_target_") == NO_ATTENTION
    ignored = OF_SLOTS if none else NOT_SCIENCE.get(section, ())
    return {name: item for name, item in node.items() if name not in ignored}


def run_id(cfg: Mapping[str, Any]) -> str:
    """The id of a run: the digest of its science.

    Equal for `attention=ise` and `attention=se attention/mask=ignore`, which are one science.
    """
    return digest(science(cfg))


def cell(cfg: Mapping[str, Any]) -> str:
    """The id of a table's cell: the digest of the science without its seed."""
    return digest({name: item for name, item in science(cfg).items() if name != "seed"})
