"""Put modules behind named modules of any network, and take them out again.

A module M of the network gets the new module as its submodule `at_end`, and a forward hook that returns at_end(y) for
M's output y. So the network keeps its classes, attributes and state-dict keys, the parameters are seen by optimizers
and DDP, and `print(net)` shows the new module in its place. The hook is a function of this file: a network with it
can be copied, pickled, compiled and exported.
"""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.errors import ConfigError

CHILD = "at_end"
NAMED = 12  # names that a message lists
CLOSE = 0.6  # likeness from which a name is suggested, as in difflib
#: their 4-d outputs hold the channels last
CHANNELS_LAST = (nn.Linear, nn.LayerNorm)


def at_end(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """The forward hook: the submodule `at_end` of the output."""
    return module.get_submodule(CHILD)(output)


def insert(net: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` behind the module `name`; see `place_of` for the names that can be used."""
    before = net.get_submodule(name)
    before.add_module(CHILD, module)
    before.register_forward_hook(at_end)


def remove(net: nn.Module, names: Iterable[str] | None = None) -> list[str]:
    """Take out what `insert` has put behind the modules `names`, None = all; return their names."""
    names = inserted(net) if names is None else list(names)
    for name in names:
        module = net.get_submodule(name)
        for key in [key for key, hook in module._forward_hooks.items() if hook is at_end]:
            del module._forward_hooks[key]
        delattr(module, CHILD)
    return names


def inserted(net: nn.Module) -> list[str]:
    """The names of the modules behind which `insert` has put a module."""
    return [name for name, module in net.named_modules() if at_end in module._forward_hooks.values()]


def matching(net: nn.Module, patterns: str | Sequence[str], key: str) -> list[str]:
    """The names of the modules that fit one of the patterns, in the order of the network.

    `*` stands for any text within one part of a dotted name: `layer*.*.bn2`. YAML makes an integer of the name `1`,
    which the second module of an nn.Sequential has.  key: the name of the argument or config
    key, for messages. Raises ConfigError for a pattern that fits no module.
    """
    names = [name for name, _ in net.named_modules() if name]
    found: dict[str, None] = {}
    for pattern in [patterns] if isinstance(patterns, (str, int)) else patterns:
        parts = str(pattern).split(".")
        fitting = [name for name in names if _fits(name.split("."), parts)]
        if not fitting:
            raise ConfigError(_unknown(key, str(pattern), names))
        found |= dict.fromkeys(fitting)
    return [name for name in names if name in found]


def _fits(path: Sequence[str], parts: Sequence[str]) -> bool:
    return len(parts) == len(path) and all(map(fnmatchcase, path, parts))


def _unknown(key: str, pattern: str, names: Sequence[str]) -> str:
    """The message for a pattern that fits no name; it lists the nearest names, the nearest first."""
    parts = pattern.split(".")

    def likeness(name: str) -> tuple[int, float]:
        path = name.split(".")
        fitting = sum(map(fnmatchcase, path, parts)) - abs(len(path) - len(parts))
        return fitting, difflib.SequenceMatcher(None, name, pattern).ratio()

    near = sorted(names, key=likeness, reverse=True)
    hint = f" did you mean {near[0]}?" if near and likeness(near[0])[1] >= CLOSE else ""
    more = f", ... ({len(names)} names)" if len(names) > NAMED else ""
    return f"unknown choice {key}={pattern};{hint} allowed are {', '.join(near[:NAMED])}{more}"


def place_of(net: nn.Module, name: str, key: str) -> str:
    """The module behind which one inserts to change the output of the module `name`.

    That is the module itself, or the last module of an nn.Sequential, which would call an additional submodule as one
    of its layers. Raises ConfigError for an empty Sequential, and for a place that is taken.
    """
    module = net.get_submodule(name)
    while type(module).forward is nn.Sequential.forward:
        if not len(module):  # type: ignore[arg-type]
            raise ConfigError(f"wrong value {key}={name}; it is an empty Sequential; allowed is a module with layers")
        last, module = list(module.named_children())[-1]
        name = f"{name}.{last}"
    if at_end in module._forward_hooks.values():
        raise ConfigError(f"wrong value {key}={name}; it has attention already; remove_attention(net) takes it out")
    return name


def shapes(net: nn.Module, names: Iterable[str], run: Callable[[], Any]) -> dict[str, list[tuple[int, ...] | None]]:
    """{name: the shapes of its outputs in one forward pass, None for an output that is no tensor}, in running order.

    run: makes the pass, in eval mode and without gradients. The modules' modes are restored afterwards.
    """
    found: dict[str, list[tuple[int, ...] | None]] = defaultdict(list)

    def note(name: str) -> Any:
        return lambda module, inputs, y: found[name].append(tuple(y.shape) if isinstance(y, Tensor) else None)

    handles = [net.get_submodule(name).register_forward_hook(note(name)) for name in names]
    try:
        with evaluating(net):
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; each module's mode is restored when the context ends."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def not_a_map(module: nn.Module, outputs: Sequence[tuple[int, ...] | None]) -> str:
    """Why no attention fits behind a module that gave these outputs in one forward pass; empty if it fits."""
    if not outputs:
        return "it does not run in a forward pass"
    if len(outputs) > 1:
        return f"it runs {len(outputs)} times in a forward pass"
    if outputs[0] is None:
        return "its output is no tensor"
    if len(outputs[0]) != 4:
        return f"its output {outputs[0]} is no feature map (B, C, H, W)"
    if type(module) in CHANNELS_LAST:
        return "its output has the channels last"
    return ""
