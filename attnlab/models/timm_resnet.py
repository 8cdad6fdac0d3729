"""timm's ResNet family (ResNet, ResNeXt, Wide ResNet, ...) with our attention in timm's own `attn_layer` slot.

Source: timm 1.0.31 models/resnet.py; the slot stands after the branch's last BN, before the addition.
timm sweeps its initialisation over every conv it finds, attention included, and that sweep draws random numbers. So
timm gets a placeholder without parameters, and the attention, initialised by itself, takes its place after the sweep.
"""

from collections.abc import Sequence
from typing import Any

import timm
from timm.models.resnet import ResNet as TimmNet
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.slots import Slot, no_attention

FEATURES = ("stem", "stage1", "stage2", "stage3", "stage4")


class _Placeholder(nn.Module):
    def __init__(self, channels: int, **_: Any) -> None:
        super().__init__()
        self.channels = channels


class TimmResNet(nn.Module):
    """Images (B, 3, H, W) -> {stem: H/2, stage1: H/4, ..., stage4: H/32}, as timm's `forward_intermediates` gives them.

    name: a timm model of the ResNet family, e.g. resnet50;  pretrained: load timm's weights (a download).
    """

    def __init__(self, name: str, *, pretrained: bool = False, slot: Slot = no_attention) -> None:
        super().__init__()
        if not timm.is_model(name):
            close = ", ".join(timm.list_models(f"*{str(name)[:6]}*")[:8]) or "resnet18, resnet34, resnet50, resnet101"
            raise ConfigError(f"model.name={name}: timm has no such model; near it: {close}")
        try:
            net = timm.create_model(name, pretrained=pretrained, num_classes=0, block_args={"attn_layer": _Placeholder})
        except TypeError as error:
            raise ConfigError(f"model.name={name}: allowed are models of timm's ResNet family") from error
        if not isinstance(net, TimmNet):
            raise ConfigError(f"model.name={name}: allowed are models of timm's ResNet family")
        for block in list(net.modules()):
            held = getattr(block, "se", None)
            if isinstance(held, _Placeholder):
                block.se = slot("branch", held.channels)
        self.net = net
        reductions: Sequence[dict[str, Any]] = net.feature_info
        self.channels = {feature: info["num_chs"] for feature, info in zip(FEATURES, reductions, strict=True)}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        _, features = self.net.forward_intermediates(images)
        return dict(zip(FEATURES, features, strict=True))
