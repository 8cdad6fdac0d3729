"""The dotted keys of nested mappings."""

from collections.abc import Mapping
from typing import Any


def every_key(node: Any, above: str = "") -> list[str]:
    """`recipe`, `recipe.optimizer`, `recipe.optimizer.lr`: every key of a config, with those of its groups."""
    if not isinstance(node, Mapping):
        return []
    found = []
    for name, item in node.items():
        found += [f"{above}{name}", *every_key(item, f"{above}{name}.")]
    return found


def leaves(node: Any, above: str = "") -> dict[str, Any]:
    """{`recipe.optimizer.lr`: value} of everything in a config that is no group; lists are values."""
    if not isinstance(node, Mapping):
        return {above: node}
    found: dict[str, Any] = {}
    for name, item in node.items():
        found |= leaves(item, f"{above}.{name}" if above else str(name))
    return found
