"""Build the object that a config node names by `_target_`; an error names the config key that is wrong."""

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from attnlab.configuration.imported import imported
from attnlab.configuration.messages import missing, unknown_key, wrong_value
from attnlab.errors import ConfigError

#: what a schedule is given at each step; its other arguments are keys of recipe.schedule
OF_A_STEP = {"step", "steps_per_epoch", "total_steps"}
TYPE_NAMES = {
    int: "an integer", float: "a number", bool: "true or false", str: "a word", NoneType: "null",
}  # fmt: skip
#: packages that a config may name. Other packages are added by ATTNLAB_TRUST=mine,ours in the environment, never by a
#: config, which may come from someone else.
TRUSTED = ("attnlab", "torch", "torchvision", "timm", "torchmetrics")
DATASETS, SCHEDULES = ("attnlab.data",), ("attnlab.schedules",)
#: whose functions a config may name: attentions that compose gates; not those that build from a config
ATTENTIONS, BUILDERS = ("attnlab.attention",), ("attnlab.attention.placement",)
OR_TRUSTED = ", or of a package that ATTNLAB_TRUST in the environment names"


def _is(found: Any, kind: type) -> bool:
    return inspect.isclass(found) and issubclass(found, kind)


def _is_lightning(found: Any, name: str) -> bool:
    """Whether it is a class below Lightning's `name`. Its own module has imported Lightning; nothing else needs it to
    build a net, and it takes seconds."""
    lightning = sys.modules.get("lightning.pytorch")
    return lightning is not None and _is(found, getattr(lightning, name))


def _is_schedule_of_torch(found: Any) -> bool:
    """Whether it is a class of schedules; ReduceLROnPlateau is none here, since it follows a metric."""
    return _is(found, LRScheduler) and not _is(found, ReduceLROnPlateau)


def _function_of(found: Any, modules: tuple[str, ...]) -> bool:
    return inspect.isfunction(found) and _within(found.__module__, modules)


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


#: key -> (a test of the object that it names, given the packages of ATTNLAB_TRUST; what is allowed in words). Not every
#: object of a trusted package is allowed: torch.load and torch.hub.load would run code that a config brings.
KINDS: dict[str, tuple[Callable[[Any, tuple[str, ...]], bool], str]] = {
    "dataset": (
        lambda found, own: _is_lightning(found, "LightningDataModule") and _within(found.__module__, DATASETS + own),
        f"a dataset of attnlab.data{OR_TRUSTED}",
    ),
    "recipe.optimizer": (lambda found, own: _is(found, Optimizer), "an optimizer class, as torch.optim.SGD"),
    "recipe.schedule": (
        lambda found, own: _function_of(found, SCHEDULES + own) or _is_schedule_of_torch(found),
        f"a function of attnlab.schedules, or a schedule of torch.optim.lr_scheduler that needs no metric{OR_TRUSTED}",
    ),
}
MODULE = (
    lambda found, own: (
        (_is(found, nn.Module) and not _is_lightning(found, "LightningModule"))
        or (_function_of(found, ATTENTIONS + own) and not _function_of(found, BUILDERS))
    ),
    f"a network module, or a function of attnlab.attention{OR_TRUSTED}",
)


def target(node: Mapping[str, Any], key: str) -> Callable[..., Any]:
    """The callable that `node._target_` names. key: the config key of the node.

    Raises ConfigError for an object that is not of the key's kind, and for one that no trusted package defines, even if
    a trusted module imports it: what a config names will be called.
    """
    path = str(node.get("_target_"))
    own = tuple(name for name in os.environ.get("ATTNLAB_TRUST", "").split(",") if name)
    packages = TRUSTED + own
    if not _within(path, packages) or path in packages:
        names = " or ".join(f"{name}." for name in packages)
        top = path.split(".")[0]
        mine = "." in path and top not in sys.stdlib_module_names
        way = f"; if you trust it, set ATTNLAB_TRUST={top} in the environment" if mine else ""
        raise ConfigError(wrong_value(f"{key}._target_", path, f"a name that begins with {names}") + way)
    found = imported(path, f"{key}._target_")
    fits, kind = KINDS.get(key, MODULE)
    if not fits(found, own) or not _within(found.__module__, packages):
        raise ConfigError(wrong_value(f"{key}._target_", path, kind))
    return found


def check_types(make: Callable[..., Any], knobs: Mapping[str, Any], key: str) -> None:
    """Raise ConfigError for an argument whose value has another type than the callable's signature says, and for one
    that a schedule does not take or lacks.

    Only plain types are checked: int, float, bool, str and None.
    """
    try:
        classes = make.__mro__[::-1] if inspect.isclass(make) else ()
        calls = [vars(one)["__init__"] for one in classes if "__init__" in vars(one)] or [make]
        hints = {name: hint for call in calls for name, hint in get_type_hints(call).items()}
    except (NameError, TypeError, AttributeError):
        return
    if parameters(make).keys() >= OF_A_STEP:
        _check_schedule(make, knobs, key)
    for name, value in knobs.items():
        hint = hints.get(name)
        allowed = set(get_args(hint)) if get_origin(hint) in (Union, UnionType) else {hint}
        if not allowed & {int, float, bool, str} or (allowed - {int, float, bool, str, NoneType, Tensor}):
            continue
        fits = {type(value)} & allowed or (float in allowed and type(value) is int)
        if not fits:
            names = " or ".join(sorted(TYPE_NAMES[part] for part in allowed if part in TYPE_NAMES))
            raise ConfigError(wrong_value(f"{key}.{name}", value, names))


def _check_keys(knobs: Mapping[str, Any], allowed: Sequence[str], key: str) -> None:
    """Raise ConfigError for keys below `key` that are not allowed; it names the overrides that leave them out."""
    if unknown := [name for name in knobs if name not in allowed]:
        without = " ".join(f"~{key}.{name}" for name in unknown)
        message = unknown_key(f"{key}.{unknown[0]}", [f"{key}.{other}" for other in allowed])
        raise ConfigError(f"{message}; on the command line {without} leaves out what the yaml sets")


def _check_schedule(make: Callable[..., Any], knobs: Mapping[str, Any], key: str) -> None:
    own = {name: parameter for name, parameter in parameters(make).items() if name not in OF_A_STEP}
    _check_keys(knobs, list(own), key)
    if lacking := [name for name, one in own.items() if one.default is one.empty and name not in knobs]:
        adds = " ".join(f"+{key}.{name}=..." for name in lacking)
        raise ConfigError(missing(f"{key}.{lacking[0]}", f"what {make.__name__} needs: {adds}"))


def parameters(make: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a callable by name. Of a class that passes **settings on to its base class, those of both."""
    found = dict(inspect.signature(make).parameters)
    rest = [name for name, parameter in found.items() if parameter.kind is inspect.Parameter.VAR_KEYWORD]
    bases = [base for base in make.__mro__[1:] if "__init__" in vars(base)] if inspect.isclass(make) else []
    if not rest or not bases or bases[0] is object:
        return found
    return {name: parameter for name, parameter in found.items() if name not in rest} | parameters(bases[0])


def construct(node: Mapping[str, Any], key: str, *args: Any, **context: Any) -> Any:
    """Call `node._target_` with `args`, the node's other keys and `context`.

    Raises ConfigError for a key that is no argument of the target, for a value of a wrong type, and for one that the
    target refuses. Keys that a dataset class lists as its `facts` describe the data and are no arguments.
    """
    make = target(node, key)
    facts = getattr(make, "facts", ())
    knobs = {name: value for name, value in node.items() if name != "_target_" and name not in facts}
    accepted = parameters(make)
    if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        positional = list(accepted)[: len(args)]
        allowed = [name for name in (*accepted, *facts) if name not in context and name not in positional]
        _check_keys(knobs, allowed, key)
    check_types(make, knobs, key)
    try:
        return make(*args, **knobs, **context)
    except ConfigError:
        raise
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError, AttributeError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{key} ({node['_target_']}): {reason}") from error
