"""timm's ResNet family (ResNet, ResNeXt, Wide ResNet, ...) with our attention in its blocks and between its stages.

Source: timm 1.0.31 models/resnet.py. `branch` is timm's own `attn_layer`: after the last BN, before the addition.
timm sweeps its initialisation over every conv it finds, attention included, and that sweep draws random numbers. So
timm gets a placeholder without parameters, and the attention, initialised by itself, takes its place after the sweep.
"""

from collections.abc import Sequence
from functools import partial
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


def _fill(block: Any, slot: Slot) -> None:
    """The slots of one block; attention is appended to layers without weights, so that all weights keep their names."""
    bottleneck = hasattr(block, "conv3")
    kernel, norm = (block.conv2, block.bn2) if bottleneck else (block.conv1, block.bn1)
    number, last = (2, 3) if bottleneck else (1, 2)
    width = kernel.out_channels
    replaced = slot("kernel", width, in_channels=kernel.in_channels, stride=kernel.stride[0])
    if not isinstance(replaced, nn.Identity):
        setattr(block, f"conv{number}", replaced)
        setattr(block, f"bn{number}", nn.Identity())
    inner = slot("inner", width)
    if not isinstance(inner, nn.Identity):
        setattr(block, f"act{number}", nn.Sequential(getattr(block, f"act{number}"), inner))
    block.se = slot("branch", block.se.channels)
    post = slot("post", getattr(block, f"bn{last}").num_features)
    if not isinstance(post, nn.Identity):
        setattr(block, f"act{last}", nn.Sequential(getattr(block, f"act{last}"), post))


class TimmResNet(nn.Module):
    """Images (B, 3, H, W) -> {stem: H/2, stage1: H/4, ..., stage4: H/32}, as timm's `forward_intermediates` gives them.

    name: a timm model of the ResNet family, e.g. resnet50;  pretrained: load timm's weights (a download).
    Slots: `kernel` in place of a bottleneck's 3x3 conv-BN-ReLU (a basic block's first); `inner` after it; `branch`;
    `post` after the block; `stage` after stages 1 to 3.
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
        for stage in range(1, 5):
            layer = getattr(net, f"layer{stage}")
            here = partial(slot, stage=stage, downsampling=net.feature_info[stage]["reduction"])
            for block in layer:
                _fill(block, here)
            if stage < 4:
                between = here("stage", net.feature_info[stage]["num_chs"])
                if not isinstance(between, nn.Identity):
                    layer.append(between)  # the blocks keep their names
        self.net = net
        reductions: Sequence[dict[str, Any]] = net.feature_info
        self.channels = {feature: info["num_chs"] for feature, info in zip(FEATURES, reductions, strict=True)}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        _, features = self.net.forward_intermediates(images)
        return dict(zip(FEATURES, features, strict=True))
