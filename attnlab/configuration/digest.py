"""Digests of plain values: the names of runs, cells and caches."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical(value: Any) -> Any:
    """The value without nulls and the mappings that only held nulls; 1.0 becomes 1.

    A new config key whose default is null therefore changes no digest.
    """
    if isinstance(value, Mapping):
        items = {str(name): canonical(item) for name, item in value.items()}
        return {name: item for name, item in items.items() if item is not None and item != {}}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def digest(value: Any) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
