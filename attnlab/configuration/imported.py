"""The object that a dotted path names, imported as Hydra does it; an error says in one message what went wrong."""

import traceback
from types import ModuleType
from typing import Any

from hydra._internal.utils import _locate  # hydra.utils.get_object, without the lines that it logs

from attnlab.configuration.messages import nearest
from attnlab.errors import ConfigError


def imported(path: str, key: str) -> Any:
    """The object. key: the config key that names it. Raises ConfigError with the cause if it cannot be imported."""
    try:
        found = _locate(path)
    except Exception as error:
        raise ConfigError(f"cannot import {key}={path}: {_cause(error, path)}") from error
    if isinstance(found, ModuleType):
        raise ConfigError(f"cannot import {key}={path}: it is a module; allowed is a class or a function in it")
    return found


def _cause(error: Exception, path: str) -> str:
    cause = error.__cause__ or error
    parent, _, name = path.rpartition(".")
    if isinstance(cause, ModuleNotFoundError | AttributeError) and getattr(cause, "name", None) in (path, name):
        hint = nearest(name, [each for each in dir(_locate(parent)) if not each.startswith("_")])
        return f"{parent} has no {name}" + (f";{hint}" if hint else "")
    text = (str(cause).splitlines() or [""])[0]
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if "importlib" not in frame.filename]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(cause).__name__}: {text}{where}"
