"""The post-activation ResNet with the CIFAR stem, a 3x3 conv of stride 1 and no pooling: ResNet-18, 34, 50, 101.

Source: He et al. 2016, Deep Residual Learning (arXiv 1512.03385), table 1; the stem, and the stride on a bottleneck's
3x3 conv, as Jongchan/attention-module@459efad MODELS/model_resnet.py has them for CIFAR.
Differs from the authors' code in: He normal is by fan-in (there: by fan-out).
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.layers import conv
from attnlab.models.resnet_cifar import BasicBlock
from attnlab.models.slots import Slot, attend, no_attention
from attnlab.models.stages import residual_stages

EXPANSION = 4


class BottleneckBlock(nn.Module):
    """x (B, C_in, H, W) -> relu(shortcut(x) + branch(x)), (B, 4 * width, H / stride, W / stride); 1x1, 3x3, 1x1 conv.

    Slots: as BasicBlock's; `kernel` in place of the 3x3 conv-BN-ReLU, `inner` after it, `conv` between the 3x3 conv and
    its BN.
    downsampling: input pixels for one of this block's output pixels.
    """

    def __init__(self, in_channels: int, width: int, stride: int, *, downsampling: int, slot: Slot) -> None:
        super().__init__()
        channels = EXPANSION * width
        here = partial(slot, downsampling=downsampling)
        before = partial(slot, downsampling=downsampling // stride)
        self.at_pre = before("pre", in_channels)
        self.conv1 = conv(in_channels, width)
        self.norm1 = nn.BatchNorm2d(width)
        # Built even if an attention replaces them, so that at one seed all other weights are those of the other rows.
        self.conv2: nn.Module = conv(width, width, 3, stride)
        self.norm2: nn.Module = nn.BatchNorm2d(width)
        self.at_kernel = here("kernel", width, in_channels=width, stride=stride)
        if not isinstance(self.at_kernel, nn.Identity):
            self.conv2 = self.norm2 = nn.Identity()
        self.at_conv = here("conv", width)
        self.at_inner = here("inner", width)
        self.conv3 = conv(width, channels)
        self.norm3 = nn.BatchNorm2d(channels)
        self.at_branch = here("branch", channels, in_channels=in_channels)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != channels or stride != 1:
            self.shortcut = nn.Sequential(conv(in_channels, channels, 1, stride), nn.BatchNorm2d(channels))
        self.at_shortcut = here("shortcut", channels)
        self.at_post = here("post", channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(self.at_pre(x))))
        y = self.at_inner(F.relu(self.norm2(self.at_conv(self.conv2(self.at_kernel(y))))))
        y = attend(self.at_branch, self.norm3(self.conv3(y)), x)
        return self.at_post(F.relu(y + self.at_shortcut(self.shortcut(x)), inplace=True))


BLOCKS: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "basic": (partial(BasicBlock, bias=False, norm=nn.BatchNorm2d, shortcut="B"), 1),
    "bottleneck": (BottleneckBlock, EXPANSION),
}


class ResNet(nn.Module):
    """Images (B, 3, H, W) -> {stage1: (B, C1, H, W), stage2: (B, C2, H/2, W/2), ...}.

    Not the ResNet of models/resnet_cifar.py, which has depth 6n + 2 and 16, 32, 64 channels.
    blocks: blocks of each stage;  widths: channels of each stage's 3x3 convs;  stem: of the first conv;
    block: basic, or bottleneck, whose output has four times as many channels as its 3x3 conv.
    Slots: those of the block, and `stage` between stages.
    """

    def __init__(
        self,
        *,
        blocks: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        stem: int = 64,
        block: str = "basic",
        slot: Slot = no_attention,
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise ConfigError(f"wrong value model.block={block}; allowed are {', '.join(BLOCKS)}")
        make, expansion = BLOCKS[block]
        self.conv = conv(3, stem, 3)
        self.norm = nn.BatchNorm2d(stem)
        self.stages, self.channels = residual_stages(
            make, stem, blocks=blocks, widths=widths, expansion=expansion, slot=slot
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.norm(self.conv(images)))
        features = {}
        for name, stage in self.stages.items():
            features[name] = x = stage(x)
        return features
