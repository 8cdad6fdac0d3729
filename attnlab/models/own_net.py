"""A network of the user's own that maps images to logits: model=own model.net._target_=mine.Net."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from attnlab.configuration.messages import missing
from attnlab.configuration.targets import construct
from attnlab.errors import ConfigError
from attnlab.models.logits_net import LogitsNet
from attnlab.models.slots import Slot, no_attention


class OwnNet(LogitsNet):
    """Images (B, 3, H, W) -> {last: (B, C, 1, 1)}; see LogitsNet for its head and its places.

    net: a config node, the class or function `_target_` and its arguments;  after: attention.after.
    Raises ConfigError for a `_target_` that gives no nn.Module.
    """

    def __init__(self, net: Mapping[str, Any], *, after: Any = None, slot: Slot = no_attention) -> None:
        if not isinstance(net, Mapping) or not net.get("_target_"):
            raise ConfigError(missing("model.net._target_", "the import path of a network, as mine.Net"))
        key = f"model.net._target_={net['_target_']}"
        made = construct(net, "model.net")
        if not isinstance(made, nn.Module):
            raise ConfigError(f"{key} returns a {type(made).__name__}; allowed is an nn.Module")
        super().__init__(made, key, slot=slot, after=after)
