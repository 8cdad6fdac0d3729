"""timm's CNNs with our attention.

The ResNet family (ResNet, ResNeXt, Wide ResNet, ...) has all eight places, in its blocks and between its stages. Every
other CNN has places at the ends of its blocks and stages (foreign_places.py).
Source: timm 1.0.31 models/resnet.py. timm initialises every conv of a finished net and draws random numbers for that.
So the slots are filled afterwards, with attention that has initialised itself.
"""

from functools import partial
from typing import Any, cast

import torch
from timm.models.resnet import ResNet as TimmNet
from torch import Tensor, nn

from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError
from attnlab.models.foreign_places import offer_places
from attnlab.models.insertion import evaluating, shapes
from attnlab.models.slots import Slot, no_attention
from attnlab.models.timm_blocks import BLOCKS
from attnlab.models.timm_create import create

FEATURES = ("stem", "stage1", "stage2", "stage3", "stage4")
IMAGE_SIZE = 224  # px, where the slot does not know the dataset's


class TimmResNet(nn.Module):
    """Images (B, 3, H, W) -> timm's features {name: (B, C, h, w)}; of the ResNet family stem, stage1, ..., stage4.

    Its name is part of run ids, and older than the other families: their features are features1, features2, ..., with
    the output of timm's `forward_features` as the last.
    name: a CNN of timm, e.g. resnet50, efficientnet_b0; one with attention of its own (seresnet50) keeps it;
    pretrained: load weights: timm's, downloaded once to the Hugging Face cache, or those of the file `checkpoint`;
    weights: the file's digest;  after: attention.after, a pattern of module names in place of the places.
    Slots of the ResNet family: those of the block; `stage` after stages 1 to 3. Of others: `post`, also called
    `branch`, at the end of each block; `stage` at the end of each stage but the last.
    """

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = False,
        checkpoint: str | None = None,
        weights: str | None = None,
        after: Any = None,
        slot: Slot = no_attention,
    ) -> None:
        super().__init__()
        self.net: Any = cast(Any, create(name, pretrained=pretrained, checkpoint=checkpoint, weights=weights))
        size = getattr(slot, "image_size", IMAGE_SIZE)
        run = partial(self._check, name, size)
        self.final = False  # whether forward_features ends in another map than the last of the features
        self.names: tuple[str, ...] = FEATURES
        if is_resnet(self.net):
            info = zip(FEATURES, self.net.feature_info, strict=True)
            self.channels = {feature: one["num_chs"] for feature, one in info}
            if after is None:
                with_slots(self.net, slot)
            else:
                offer_places(self.net, slot, run, after)
            return
        with evaluating(self):
            final, features = run()
        self.final = final.shape != features[-1].shape
        maps = [*features, final] if self.final else [*features[:-1], final]
        self.names = tuple(f"features{number}" for number in range(1, len(maps) + 1))
        self.channels = {feature: x.shape[1] for feature, x in zip(self.names, maps, strict=True)}
        without_unused(self.net, run)
        offer_places(self.net, slot, run, after)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        final, features = self.net.forward_intermediates(images)
        if self.names is not FEATURES:
            features = [*features, final] if self.final else [*features[:-1], final]
        return dict(zip(self.names, features, strict=True))

    def _check(self, name: str, size: int) -> tuple[Tensor, list[Tensor]]:
        """timm's final features and all features of an empty image. Raises ConfigError if it is too small."""
        try:
            return self.net.forward_intermediates(torch.zeros(1, 3, size, size))
        except RuntimeError as error:
            reason = f"model.name={name} fails on such images: {(str(error).splitlines() or [''])[0]}"
            raise ConfigError(f"{wrong_value('dataset.image_size', size, 'a larger size')}; {reason}") from error


def is_resnet(net: Any) -> bool:
    """Whether a net of timm's is of the family whose blocks timm_blocks.py knows."""
    blocks = [block for stage in range(1, 5) for block in getattr(net, f"layer{stage}", ())]
    return isinstance(net, TimmNet) and all(type(block) in BLOCKS for block in blocks)


def without_unused(net: nn.Module, run: Any) -> None:
    """Drop timm's layers between features and classifier, which the features need not; DDP would wait for them."""
    names = [name for name, _ in net.named_modules() if name]
    ran = {name.split(".")[0] for name in shapes(net, names, run)}
    for name, child in net.named_children():
        if name not in ran and list(child.parameters()):
            setattr(net, name, nn.Identity())


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
