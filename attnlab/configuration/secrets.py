"""Secrets of the environment (WANDB_API_KEY, anything named *_KEY, *_TOKEN, *_SECRET, *_PASSWORD) are never printed or
saved.

It imports nothing heavy, since a config is checked for secrets before torch is imported.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

SECRET = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
SHORTEST = 8  # characters; a shorter value is hardly a secret, and many words contain it


def secrets() -> dict[str, str]:
    """{environment variable: its value, a secret}, the longest value first."""
    found = {name: value for name, value in os.environ.items() if SECRET.search(name) and len(value) >= SHORTEST}
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def hide(text: str) -> str:
    """The text with each secret replaced by $NAME, the name of its environment variable."""
    for name, value in secrets().items():
        text = text.replace(value, f"${name}")
    return text


def first_secret(node: Any, key: str = "") -> tuple[str, str] | None:
    """(config key, environment variable) of the first config value that contains a secret, or None.

    key: the config key of `node`; empty for the full config.
    """
    hidden = secrets()
    if isinstance(node, Mapping | list):
        items = node.items() if isinstance(node, Mapping) else enumerate(node)
        parts = (first_secret(item, f"{key}.{name}" if key else str(name)) for name, item in items)
        return next((part for part in parts if part), None) if hidden else None
    return next(((key, name) for name, value in hidden.items() if value in str(node)), None)


def first_line(error: BaseException) -> str:
    """The first line of an error's message without secrets; the error's type where it has no message."""
    return hide(str(error).splitlines()[0] if str(error) else type(error).__name__)
