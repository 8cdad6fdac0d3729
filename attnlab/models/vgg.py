"""VGG-16 with batch normalisation for CIFAR: 3x3 convs in five stages, each ending in a pooling, one linear layer.

Source: Simonyan and Zisserman 2015 (arXiv 1409.1556), table 1, column D; the CIFAR net and SE's place in it (`branch`,
after each conv-BN-ReLU) are those of ma-xu/SPANet@031320d models/vgg16.py, models/se_vgg16.py.
Differs from the authors' code in: He normal is by fan-in (there: by fan-out); the linear layer is the head's.
"""

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.layers import conv
from attnlab.models.slots import Slot, no_attention

WIDTHS = (64, 128, 256, 512, 512)


class ConvBlock(nn.Module):
    """x (B, C_in, H, W) -> relu(BN(conv3x3(x))), (B, C, H, W).

    Slots: `kernel` in place of all three; `conv` after the conv; `post`, also `branch`, after the ReLU.
    """

    def __init__(self, in_channels: int, channels: int, *, here: Slot) -> None:
        super().__init__()
        # Built even if an attention replaces them, so that at one seed all other weights are those of the other rows.
        self.conv: nn.Module = conv(in_channels, channels, 3, bias=True)
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.at_kernel = here("kernel", channels, in_channels=in_channels, stride=1)
        if not isinstance(self.at_kernel, nn.Identity):
            self.conv = self.norm = nn.Identity()
        self.at_conv = here("conv", channels)
        self.at_post = here("post", channels, also=("branch",))

    def forward(self, x: Tensor) -> Tensor:
        return self.at_post(F.relu(self.norm(self.at_conv(self.conv(self.at_kernel(x))))))


class VGG(nn.Module):
    """Images (B, 3, H, W) -> {stage1: (B, 64, H, W), ..., stage5: (B, 512, H/16, W/16), global: (B, 512, H/32, W/32)}.

    A stage's feature is taken before its 2x2 max pooling; `global` after the last one, for the head.
    blocks: convs of each of the five stages, [2, 2, 3, 3, 3] in VGG-16.
    Slots: those of the block, and `stage`, the end of each stage but the last, before its pooling.
    """

    def __init__(self, *, blocks: Sequence[int] = (2, 2, 3, 3, 3), slot: Slot = no_attention) -> None:
        super().__init__()
        counts = isinstance(blocks, list | tuple) and all(type(count) is int and count >= 1 for count in blocks)
        if not counts or len(blocks) != len(WIDTHS):
            raise ConfigError(
                f"wrong value model.blocks={blocks}; allowed is an integer from 1 for each stage, e.g. [2,2,3,3,3]"
            )
        self.stages = nn.ModuleDict()
        self.channels = {}
        in_channels = 3
        for number, (count, channels) in enumerate(zip(blocks, WIDTHS, strict=True), start=1):
            here = partial(slot, stage=number, downsampling=2 ** (number - 1))
            stage = nn.Sequential()
            for _ in range(count):
                stage.append(ConvBlock(in_channels, channels, here=here))
                in_channels = channels
            if number < len(WIDTHS):
                stage.add_module("at_stage", here("stage", channels))
            self.stages[f"stage{number}"] = stage
            self.channels[f"stage{number}"] = channels
        self.channels["global"] = in_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = images
        features = {}
        for name, stage in self.stages.items():
            features[name] = stage(x)
            x = F.max_pool2d(features[name], 2, ceil_mode=True)
        return features | {"global": x}
