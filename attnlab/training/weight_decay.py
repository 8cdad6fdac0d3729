"""Weight decay by kind of parameter and by layer: the optimiser's parameter groups."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from attnlab.errors import ConfigError

NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)
KEY = "recipe.weight_decay.layers"


def fits(layer: str, parameter: str) -> bool:
    """Whether `layer` names the parameter or a module that contains it.

    `*` matches within one part of a dotted name: `backbone.stages.*.*.conv2` never matches a block's attention.
    """
    parts, path = layer.split("."), parameter.split(".")
    return len(parts) <= len(path) and all(map(fnmatchcase, path, parts))


def decay_groups(net: nn.Module, weight_decay: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The optimiser's parameter groups, one for each weight decay.

    A parameter's decay is that of the entry in `layers` that names it, else the first of `norm`, `bias`, `attention`
    that applies to it and is not null, else `default`.  layers: {name of a layer, with `*`: decay}, or null.
    Raises ConfigError for an entry that names no layer, and for two entries that name one parameter: their order is not
    part of a run's id.
    """
    layers: Mapping[str, float] = weight_decay.get("layers") or {}
    attention = {id(p) for module in net.modules() if hasattr(module, "attention_place") for p in module.parameters()}
    groups: dict[float, list[nn.Parameter]] = {}
    used: set[str] = set()
    for path, module in net.named_modules():
        used.update(layer for layer in layers if fits(layer, path))  # a module may have no parameters
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{path}.{name}" if path else name
            named = [layer for layer in layers if fits(layer, full)]
            if len(named) > 1:
                raise ConfigError(f"{KEY}: {' and '.join(named)} both name {full}; allowed is one")
            used.update(named)
            rules = [
                *(layers[layer] for layer in named),
                weight_decay.get("norm") if isinstance(module, NORMS) else None,
                weight_decay.get("bias") if name == "bias" else None,
                weight_decay.get("attention") if id(parameter) in attention else None,
                weight_decay.get("default"),
            ]
            groups.setdefault(float(next((rule for rule in rules if rule is not None), 0.0)), []).append(parameter)
    if unused := [layer for layer in layers if layer not in used]:
        names = [name for name, _ in net.named_parameters()]
        some = ", ".join(dict.fromkeys([names[0], names[len(names) // 2], names[-1]]))
        raise ConfigError(f"{KEY}.{unused[0]}: names no layer of this network; its parameters are {some}, ...")
    return [{"params": parameters, "weight_decay": decay} for decay, parameters in sorted(groups.items())]
