"""Put attention into any network: torchvision's, timm's, Hugging Face's, one's own; and take it out again."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.attention.by_line import config_of, create_with
from attnlab.attention.gate import Gate
from attnlab.attention.rezero import Eased
from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError
from attnlab.models.insertion import insert, matching, not_a_map, place_of, remove, shapes

STARTS = (None, "identity")
IMAGE_SIZE = 224  # px, of the example image


def insert_attention(
    net: nn.Module,
    name: str,
    *,
    after: str | Sequence[str],
    images: Any = None,
    start: str | None = None,
    **knobs: Any,
) -> list[str]:
    """Put an attention behind the modules that `after` names; return the names of these modules, in running order.

    name: of conf/attention/;  after: a pattern of module names, as `layer*.*.bn2`, or several; `*` stands for any text
    within one part of a name;  images: what the net is called with, once, to find channels and sizes; None = an empty
    image (1, C, 224, 224);  start: identity = y = x at the beginning, for nets that are trained; None = the
    attention's own start;  knobs: mask, reduction, ...: see create_attention.
    The attention becomes the submodule `at_end` of the module that it follows; of an nn.Sequential, of its last
    module. All other state-dict keys stay. Insert before you make the optimizer, and before torch.compile and DDP.
    Raises ConfigError for a pattern that fits no module, a module whose output is no feature map (B, C, H, W), that
    does not run once in a forward pass, or that has attention already, and for an attention that does not fit. The net
    is then as it was.
    """
    if start not in STARTS:
        raise ConfigError(wrong_value("start", start, "null or identity"))
    node = config_of(name, mask=knobs.pop("mask", None), apply=knobs.pop("apply", None)) | knobs
    names = list(dict.fromkeys(place_of(net, found, "after") for found in matching(net, after, "after")))
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    run = partial(net, _example(net, like) if images is None else images)
    outputs = _shapes(net, names, run, "cannot call the net; images=... is what it takes")
    for found in names:
        if reason := not_a_map(net.get_submodule(found), outputs.get(found, [])):
            raise ConfigError(f"{wrong_value('after', found, 'a module that gives a feature map')}; {reason}")
    made: dict[str, nn.Module] = {}
    previous: nn.Module | None = None
    for found in outputs:
        _, channels, height, width = outputs[found][0]  # a map, as checked above
        known = {"previous": previous} | ({"size": height} if height == width else {})
        module = create_with(name, node, channels, known)
        previous = module.score if isinstance(module, Gate) else module
        module = Eased(module) if start else module
        module.attention_place = "after"  # type: ignore[assignment]
        made[found] = module.to(like).train(net.get_submodule(found).training)
    for found, module in made.items():
        insert(net, found, module)
    try:
        _check_runs(net, list(made), run, name)
    except ConfigError:
        remove(net, made)
        raise
    return list(made)


def remove_attention(net: nn.Module) -> list[str]:
    """Take out all that `insert_attention` has put into a network; return the names of the modules it was behind."""
    return remove(net)


def _check_runs(net: nn.Module, names: Sequence[str], run: Callable[[], Any], attention: str) -> None:
    """Raise ConfigError unless each inserted attention runs exactly once in a forward pass.

    It runs twice, or on something else, behind a module that calls all its submodules in turn, as a container does.
    """
    ran = dict.fromkeys(names, 0)

    def count(found: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            ran[found] += 1
            if not isinstance(inputs[0], Tensor) or ran[found] > 1:
                raise ConfigError(f"wrong value after={found}; it calls its submodules in turn; allowed is one of them")

        return hook

    handles = [net.get_submodule(f"{found}.at_end").register_forward_pre_hook(count(found)) for found in names]
    try:
        _shapes(net, [], run, f"attention={attention} does not fit")
    finally:
        for handle in handles:
            handle.remove()


def _shapes(net: nn.Module, names: Sequence[str], run: Callable[[], Any], problem: str) -> dict[str, list[Any]]:
    """`insertion.shapes`; an error of the forward pass becomes a ConfigError that begins with `problem`."""
    try:
        return shapes(net, names, run)
    except ConfigError:
        raise
    except Exception as error:  # the net is anybody's
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigError(f"{problem}: {type(error).__name__}: {reason}") from error


def _example(net: nn.Module, like: Tensor) -> Tensor:
    """An empty image with as many channels as the first convolution takes, on the net's device."""
    conv = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    return like.new_zeros(1, conv.in_channels if conv is not None else 3, IMAGE_SIZE, IMAGE_SIZE)
