"""timm's ResNet family (ResNet, ResNeXt, Wide ResNet, ...) with our attention in its blocks and between its stages.

Source: timm 1.0.31 models/resnet.py. timm initialises every conv of a finished net and draws random numbers for that.
So the slots are filled afterwards, with attention that has initialised itself.
"""

from functools import partial
from typing import cast

import timm
from timm.models.resnet import ResNet as TimmNet
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.models.slots import Slot, no_attention
from attnlab.models.timm_blocks import BLOCKS

FEATURES = ("stem", "stage1", "stage2", "stage3", "stage4")


def create(name: str, *, pretrained: bool) -> TimmNet:
    """timm's own net without its classifier.

    Raises ConfigError if it is of another family or its weights cannot be fetched.
    """
    if not timm.is_model(name):
        close = ", ".join(timm.list_models(f"*{str(name)[:6]}*")[:8]) or "resnet18, resnet34, resnet50, resnet101"
        raise ConfigError(f"model.name={name}: timm has no such model; near it: {close}")
    net = timm.create_model(name, num_classes=0)
    blocks = [block for stage in range(1, 5) for block in getattr(net, f"layer{stage}", ())]
    if not isinstance(net, TimmNet) or any(type(block) not in BLOCKS for block in blocks):
        raise ConfigError(
            f"wrong value model.name={name}; allowed are models of timm's ResNet family (ResNet, ResNeXt, Wide ResNet)"
        )
    if not pretrained:
        return net
    try:
        return cast(TimmNet, timm.create_model(name, num_classes=0, pretrained=True))
    except Exception as error:  # of the hub, of its HTTP client, of a file that is cut off
        raise ConfigError(_cannot_load(name, error)) from error


def _cannot_load(name: str, error: Exception) -> str:
    known = timm.get_pretrained_cfg(name)
    if known is None or not (known.hf_hub_id or known.url):
        return f"model.pretrained=true: timm has no weights of model.name={name}; allowed is false"
    if not isinstance(error, OSError):  # what downloads raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"model.pretrained=true: the weights of model.name={name} do not load: {reason}"
    at = known.hf_hub_id or known.url
    return (
        f"model.pretrained=true: the weights of model.name={name} could not be fetched from {at}, and are not in the "
        f"Hugging Face cache ($HF_HOME, else ~/.cache/huggingface). Without network, fetch them where there is one by "
        f"`python -c \"import timm; timm.create_model('{name}', pretrained=True)\"` and copy that cache's "
        f"hub/models--{str(at).replace('/', '--')} here; HF_HUB_OFFLINE=1 then asks nobody. model.pretrained=false "
        f"trains from scratch"
    )


class TimmResNet(nn.Module):
    """Images (B, 3, H, W) -> {stem: H/2, stage1: H/4, ..., stage4: H/32}, as timm's `forward_intermediates` gives them.

    name: a timm model of the ResNet family, e.g. resnet50; one with attention of its own (seresnet50) keeps it;
    pretrained: load timm's weights, downloaded once to the Hugging Face cache.
    Slots: those of the block; `stage` after stages 1 to 3.
    """

    def __init__(self, name: str, *, pretrained: bool = False, slot: Slot = no_attention) -> None:
        super().__init__()
        self.net = with_slots(create(name, pretrained=pretrained), slot)
        self.channels = {
            feature: info["num_chs"] for feature, info in zip(FEATURES, self.net.feature_info, strict=True)
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        _, features = self.net.forward_intermediates(images)
        return dict(zip(FEATURES, features, strict=True))


def with_slots(net: TimmNet, slot: Slot) -> TimmNet:
    """timm's net, its blocks replaced by ours; all weights keep their names."""
    for stage in range(1, 5):
        info = net.feature_info[stage]
        layer = getattr(net, f"layer{stage}")
        here = partial(slot, stage=stage)
        for index, block in enumerate(layer):
            # only a stage's first block has a stride
            layer[index] = BLOCKS[type(block)](block, downsampling=info["reduction"], slot=here)
        if stage < 4:
            between = here("stage", info["num_chs"], downsampling=info["reduction"])
            if not isinstance(between, nn.Identity):
                layer.add_module("at_stage", between)  # the blocks keep their numbers
    return net
