"""Build the object that a config node names by `_target_`, and say which key is wrong when that fails."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hydra.utils import get_object

from attnlab.errors import ConfigError

TRUSTED = ("attnlab.", "torch.", "torchvision.", "timm.", "torchmetrics.", "lightning.")


def target(node: Mapping[str, Any], key: str) -> Callable[..., Any]:
    """The callable that `node._target_` names; `key` is where the node stands in the config."""
    path = str(node.get("_target_"))
    if not path.startswith(TRUSTED):
        raise ConfigError(f"{key}._target_={path}: allowed are names that begin with {', '.join(TRUSTED)}")
    try:
        found = get_object(path)
    except Exception as error:
        raise ConfigError(f"{key}._target_={path}: cannot be imported ({error})") from error
    if not callable(found):
        raise ConfigError(f"{key}._target_={path}: not a class or function")
    return found


def construct(node: Mapping[str, Any], key: str, *args: Any, **context: Any) -> Any:
    """Call `node._target_` with `args`, the node's own keys and `context`.

    Raises ConfigError naming `key.KNOB` for a knob that the target does not have.
    """
    make = target(node, key)
    knobs = {name: value for name, value in node.items() if name != "_target_"}
    accepted = inspect.signature(make).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        positional = list(accepted)[: len(args)]
        allowed = [name for name in accepted if name not in context and name not in positional]
        for name in knobs:
            if name not in allowed:
                raise ConfigError(f"{key}.{name}: no such key; allowed are {', '.join(allowed) or 'none'}")
    try:
        return make(*args, **knobs, **context)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key} ({node['_target_']}): {error}") from error
