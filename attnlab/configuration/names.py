"""The shortest name for a part of a config: the yaml file that composes to it, and what differs from that file."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from attnlab.configuration.digest import canonical
from attnlab.configuration.groups import choices, file_of, own_folder
from attnlab.configuration.identity import decisive


def read_choice(group: str, choice: str) -> dict[str, Any]:
    """The yaml file of a choice with its defaults merged, interpolations unresolved.

    It equals what Hydra composes (a test compares them), and is a hundred times faster: a name needs every yaml file of
    its group.
    """
    own = yaml.safe_load(file_of(group, choice).read_text()) or {}
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
def _choices(group: str, own: Path | None) -> dict[str, dict[str, Any]]:
    """{choice: its flat config, interpolations unresolved} for every yaml file of a group, the shortest name first."""
    names = sorted(choices(group), key=lambda name: (len(name), name))
    return {choice: _flat(decisive(group, read_choice(group, choice))) for choice in names}


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """{"mask.alpha": value} for nested mappings, without nulls."""
    if not isinstance(node, Mapping):
        return {prefix: canonical(node)}
    flat: dict[str, Any] = {}
    for name, item in node.items():
        flat |= _flat(item, f"{prefix}.{name}" if prefix else str(name))
    return {key: value for key, value in flat.items() if value is not None}


def _differences(known: Mapping[str, Any], wanted: Mapping[str, Any], config: Mapping[str, Any] | None) -> list[str]:
    """The keys in which two flat configs differ. An interpolation such as `${dataset.mirror}` is looked up in `config`;
    without `config` it differs from nothing."""

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
    """The keys in which a section of a config differs from a choice of its group.

    known: the choice, as `read_choice` gives it;  node: the section;  config: the full config, in which interpolations
    such as `${dataset.mirror}` are looked up. A value that a resolver computes never differs.
    """
    flat = _flat(decisive(group, known))
    computed = tuple(f"{key}." for key, item in flat.items() if str(item).startswith("${oc."))
    return [key for key in _differences(flat, _flat(decisive(group, node)), config) if not key.startswith(computed)]


def name_of(group: str, node: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> str:
    """The shortest name for a section: a yaml file of conf/<group>/ that composes to it; else the nearest file and what
    differs, as one types it: `se reduction=8`, `se mask=reciprocal`. config: the full config, for interpolations."""
    wanted = _flat(decisive(group, node))
    best: list[str] | None = None
    for choice, known in _choices(group, own_folder()).items():
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
        best.append(f"listing={wanted['listing']}")  # a digest of the image folder's contents
    return " ".join(best) if best else str(node.get("_target_", "?")).rsplit(".", 1)[-1]
