"""Which run is this? The id of a config's science, and the shortest name for its attention."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from attnlab.configuration.compose import CONF, NO_ATTENTION, choices, plain
from attnlab.configuration.digest import canonical, digest

SECTIONS = ("dataset", "model", "attention", "head", "recipe")
#: where the data lie and how they are read does not change what is learnt from them; a model's own weight decay does
#: where the recipe asks for it, and is in the recipe then
NOT_SCIENCE = {"dataset": ("root", "cache", "in_memory"), "model": ("weight_decay",)}
#: where attention=none stands, how it begins and which draw it has says nothing
NOTHING = NO_ATTENTION
#: keys of attention, beside its place, that the slots read and no attention's constructor
OF_SLOTS = ("stages", "start", "draw")


def science(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the result: dataset, model, attention, head, recipe, seed, and the run it started from, if any.

    No machine, precision or path.
    """
    values = plain(cfg)
    parts = {section: _decides(section, values[section]) for section in SECTIONS}
    return canonical(parts | {"start_from": values.get("start_from")}) | {"seed": values["seed"]}


def _decides(section: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """What of a section is science."""
    nothing = section == "attention" and node.get("_target_") == NOTHING
    beside = OF_SLOTS if nothing else NOT_SCIENCE.get(section, ())
    return {name: item for name, item in node.items() if name not in beside}


def run_id(cfg: Mapping[str, Any]) -> str:
    """The id of a run: the digest of its science.

    Equal for `attention=ise` and `attention=se attention/mask=ignore`, which are one science.
    """
    return digest(science(cfg))


def cell(cfg: Mapping[str, Any]) -> str:
    """The id of a table's cell: the digest of the science without its seed."""
    return digest({name: item for name, item in science(cfg).items() if name != "seed"})


def read_choice(group: str, choice: str) -> dict[str, Any]:
    """conf/<group>/<choice>.yaml with its defaults merged, interpolations unresolved.

    What Hydra composes (a test holds them equal), a hundred times faster: names need every yaml of a group.
    """
    own = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text()) or {}
    defaults = own.pop("defaults", [])
    merged: dict[str, Any] = {}
    for entry in defaults if "_self_" in defaults else [*defaults, "_self_"]:
        if entry == "_self_":
            merged = _merge(merged, own)
        elif isinstance(entry, str):
            merged = _merge(merged, read_choice(group, entry))
        else:
            ((key, value),) = entry.items()
            key = key.removeprefix("override ")
            merged[key] = read_choice(f"{group}/{key}", value)
    return merged


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, item in over.items():
        both = isinstance(item, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], item) if both else item
    return merged


@cache
def _named(group: str) -> dict[str, dict[str, Any]]:
    """{choice: its flat config, interpolations unresolved} of every yaml of a group, the shortest name first."""
    named = {}
    for choice in sorted(choices(group), key=lambda name: (len(name), name)):
        named[choice] = _flat(_decides(group, read_choice(group, choice)))
    return named


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, Mapping):
        return {prefix: canonical(node)}
    flat: dict[str, Any] = {}
    for name, item in node.items():
        flat |= _flat(item, f"{prefix}.{name}" if prefix else str(name))
    return {key: value for key, value in flat.items() if value is not None}


def _differences(known: Mapping[str, Any], wanted: Mapping[str, Any], config: Mapping[str, Any] | None) -> list[str]:
    """The keys in which two flat configs differ; `${dataset.mirror}` is looked up in `config`, when that is given."""

    def value(key: str) -> Any:
        text = str(known.get(key))
        if not text.startswith("${"):
            return known.get(key)
        section, _, name = text[2:-1].partition(".")
        if config is None or name not in config.get(section, {}):
            return wanted.get(key)
        return canonical(config[section][name])

    return sorted(key for key in known.keys() | wanted.keys() if value(key) != wanted.get(key))


def departures(group: str, known: Mapping[str, Any], node: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """The keys in which a node of a whole config departs from what a choice of its group sets.

    known: the choice, interpolations unresolved; `${dataset.mirror}` is looked up in config, and what a resolver gives
    is the config's own.
    """
    flat = _flat(_decides(group, known))
    own = tuple(f"{key}." for key, item in flat.items() if str(item).startswith("${oc."))
    return [key for key in _differences(flat, _flat(_decides(group, node)), config) if not key.startswith(own)]


def name_of(group: str, node: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> str:
    """The shortest name of a config node: a yaml of conf/<group>/ that composes to it, else the nearest yaml and what
    differs, as one would type it: `se reduction=8`, `se mask=reciprocal`. config: the whole one, for interpolations."""
    wanted = _flat(_decides(group, node))
    best: list[str] | None = None
    for choice, known in _named(group).items():
        if known.get("_target_") != wanted.get("_target_"):
            continue
        parts = [choice]
        different = _differences(known, wanted, config)
        if any(key.startswith("mask.") for key in different) and isinstance(node.get("mask"), Mapping):
            parts.append("mask=" + name_of("attention/mask", node["mask"]).replace(" ", " mask."))
        values = {key: str(wanted.get(key, "null")).replace(", ", ",") for key in different}
        parts += [f"{key}={value}" for key, value in values.items() if not key.startswith("mask.")]
        if best is None or len(parts) < len(best):
            best = parts
    if best and "listing" in wanted:
        best.append(f"listing={wanted['listing']}")  # of a folder: which one
    return " ".join(best) if best else str(node.get("_target_", "?")).rsplit(".", 1)[-1]
