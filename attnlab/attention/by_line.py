"""Attention modules by their names in conf/attention/, ready for any network: y = create_attention("cbam", 64)(x)."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from torch import nn

from attnlab.attention.placement import ON_REQUEST, make_attention
from attnlab.configuration.groups import choices, file_of
from attnlab.configuration.identity import OF_SLOTS
from attnlab.configuration.messages import unknown_choice
from attnlab.configuration.names import read_choice
from attnlab.configuration.targets import target
from attnlab.errors import ConfigError

#: what an attention may need besides its channels, in words
NEEDS = {
    "size": "H = W of its maps, in pixels",
    "in_channels": "the channels of the block's input, the second argument of forward",
    "stride": "of the convolution that it replaces",
}


def create_attention(
    name: str, channels: int, *, mask: str | None = None, apply: str | None = None, **knobs: Any
) -> nn.Module:
    """The attention `name` of conf/attention/ for maps of `channels` channels: x (B, C, H, W) -> y (B, C, H, W).

    mask: a name of conf/attention/mask/, as ignore; None = that of the attention;  apply: scale or residual, None =
    that of the attention;  knobs: keys of its yaml, as reduction=8, and what it needs besides the channels: size
    (H = W of the maps: ge_theta, nam_spatial, axial, ...), in_channels (of the block's input, which is the second
    argument of forward: pse, cpse; of x, for those that replace a convolution: sk, cot, ...), stride (of the
    convolution that it replaces: sk, cot, ...), previous (the score before it: dca_se). A missing one is named.
    The weights are drawn from torch's random state. Raises ConfigError for an unknown name, mask or knob, for a value
    that does not fit, and for an argument that is missing.
    """
    node = config_of(name, mask=mask, apply=apply)
    wanted = inspect.signature(target(node, "attention")).parameters
    known = {key: knobs.pop(key) for key in ON_REQUEST if key in wanted and key in knobs}
    return create_with(name, node | knobs, channels, known)


def config_of(name: str, *, mask: str | None = None, apply: str | None = None) -> dict[str, Any]:
    """The config node of an attention with a mask and an apply of one's choice; None leaves those of its yaml."""
    if name not in choices("attention"):
        raise ConfigError(unknown_choice("attention", name))
    node = read_choice("attention", name)
    node.pop("place", None)
    if mask is not None:
        if mask not in choices("attention/mask"):
            raise ConfigError(unknown_choice("attention/mask", mask))
        node["mask"] = read_choice("attention/mask", mask)
    return node if apply is None else node | {"apply": apply}


def create_with(name: str, node: Mapping[str, Any], channels: int, known: Mapping[str, Any]) -> nn.Module:
    """The attention of a config node; known: those of ON_REQUEST that are known, of which it takes what it needs."""
    if slotted := [key for key in ("place", *OF_SLOTS) if key in node]:
        raise ConfigError(f"unknown key attention.{slotted[0]}; only a backbone of attnlab reads it (attention={name})")
    wanted = inspect.signature(target(node, "attention")).parameters
    for key, words in NEEDS.items():
        if key in wanted and key not in known and wanted[key].default is inspect.Parameter.empty:
            raise ConfigError(f"missing argument {key}, {words}; attention={name} needs it")
    return make_attention(node, channels, **known)


@cache
def ready_modules() -> dict[str, str]:
    """{name in Python: name in conf/attention/}: SE: se, ISE: ise, CBAM: cbam, SimAM: simam, GC: gc, ...

    The name in Python is spelled as the class that the yaml names, or else in capitals. A yaml that varies another
    (eca_official, cbam_laakom2021) has none.
    """
    targets = {choice: str(read_choice("attention", choice)["_target_"]) for choice in choices("attention")}
    found: dict[str, str] = {}
    for choice, made_by in targets.items():
        varies = any(choice.startswith(f"{other}_") and made_by == targets[other] for other in targets)
        short, spelled = choice.replace("_", ""), made_by.rpartition(".")[2]
        if not varies and choice != "none":
            found[spelled if spelled.lower() == short != spelled else short.upper()] = choice
    return found


@cache
def ready(name: str) -> Callable[..., nn.Module]:
    """The function behind `from attnlab.attention import CBAM`: channels and knobs -> module x -> y."""
    choice = ready_modules()[name]

    def create(channels: int, **knobs: Any) -> nn.Module:
        return create_attention(choice, channels, **knobs)

    first = file_of("attention", choice).read_text().splitlines()[0].lstrip("# ")
    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"{first}\n\nx (B, C, H, W) -> y (B, C, H, W); knobs: see create_attention({choice!r}, channels)."
    return create
