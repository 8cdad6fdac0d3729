"""Keys of the environment (WANDB_API_KEY, anything named *_KEY, *_TOKEN, *_SECRET, *_PASSWORD) stay there.

Imports nothing heavy: the configuration is checked by it before torch is imported.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

SECRET = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
SHORTEST = 8  # characters; anything shorter is no key, and stands in too many words


def secrets() -> dict[str, str]:
    """{name of an environment variable that holds a key: its value}, the longest first."""
    found = {name: value for name, value in os.environ.items() if SECRET.search(name) and len(value) >= SHORTEST}
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def hide(text: str) -> str:
    """The text with $NAME in the place of each key."""
    for name, value in secrets().items():
        text = text.replace(value, f"${name}")
    return text


def told(node: Any, key: str = "") -> tuple[str, str] | None:
    """(config key, name of the environment variable) of the first key that a config would tell; None: it tells none."""
    hidden = secrets()
    if isinstance(node, Mapping | list):
        items = node.items() if isinstance(node, Mapping) else enumerate(node)
        parts = (told(item, f"{key}.{name}" if key else str(name)) for name, item in items)
        return next((part for part in parts if part), None) if hidden else None
    return next(((key, name) for name, value in hidden.items() if value in str(node)), None)
