"""Build the object that a config node names by `_target_`, and say which key is wrong when that fails."""

import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object
from torch import Tensor

from attnlab.errors import ConfigError

TYPE_NAMES = {
    int: "an integer", float: "a number", bool: "true or false", str: "a word", NoneType: "null",
}  # fmt: skip
TRUSTED = ("attnlab.", "torch.", "torchvision.", "timm.", "torchmetrics.", "lightning.")


def target(node: Mapping[str, Any], key: str) -> Callable[..., Any]:
    """The callable that `node._target_` names; `key` is where the node stands in the config."""
    path = str(node.get("_target_"))
    if not path.startswith(TRUSTED):
        raise ConfigError(f"{key}._target_={path}: allowed are names that begin with {', '.join(TRUSTED)}")
    try:
        found = get_object(path)
    except Exception as error:
        raise ConfigError(f"{key}._target_={path}: cannot be imported ({str(error).splitlines()[0]})") from error
    if not callable(found):
        raise ConfigError(f"{key}._target_={path}: not a class or function")
    return found


def check_types(make: Callable[..., Any], knobs: Mapping[str, Any], key: str) -> None:
    """Raise ConfigError when a knob's value is not of the plain type that the callable's signature names."""
    try:
        hints = get_type_hints(make.__init__ if inspect.isclass(make) else make)
    except (NameError, TypeError, AttributeError):
        return
    for name, value in knobs.items():
        hint = hints.get(name)
        allowed = set(get_args(hint)) if get_origin(hint) in (Union, UnionType) else {hint}
        if not allowed & {int, float, bool, str} or (allowed - {int, float, bool, str, NoneType, Tensor}):
            continue
        fits = {type(value)} & allowed or (float in allowed and type(value) is int)
        if not fits:
            names = " or ".join(sorted(TYPE_NAMES[part] for part in allowed if part in TYPE_NAMES))
            raise ConfigError(f"{key}.{name}={'null' if value is None else value}: allowed is {names}")


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
    check_types(make, knobs, key)
    try:
        return make(*args, **knobs, **context)
    except ConfigError:
        raise
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise ConfigError(f"{key} ({node['_target_']}): {str(error).splitlines()[0]}") from error
