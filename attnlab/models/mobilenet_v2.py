"""MobileNetV2 for CIFAR: inverted residual blocks, wide inside and narrow at both ends, no ReLU at the end of a branch.

Source: Sandler et al. 2018, MobileNetV2 (arXiv 1801.04381), table 2; strides and details are those of
ZjjConan/SimAM@ae98f43 networks/cifar: stride 1 in the stem and in the second group, ReLU instead of ReLU6, a 1x1 conv
also where the expansion is 1, and a 1x1 conv with BN on the shortcut where only the number of channels changes.
There SimAM stands at `conv`, after the depthwise conv, and the other attentions at `branch`. Coordinate attention's is
`inner` (houqb/CoordAttention@7619bea mbv2_ca.py; its first block, of expansion 1, has none).
Differs from the authors' code in: He normal by fan-in (there: PyTorch's default).
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.layers import conv
from attnlab.models.slots import Slot, attend, no_attention

STEM, END = 32, 1280
#: stages of one resolution: (expansion, channels, blocks) of each group; a stage but the first begins with stride 2
STAGES = (
    ((1, 16, 1), (6, 24, 2)),
    ((6, 32, 3),),
    ((6, 64, 4), (6, 96, 3)),
    ((6, 160, 3), (6, 320, 1)),
)


class InvertedResidual(nn.Module):
    """x (B, C_in, H, W) -> [shortcut(x) +] 1x1, BN, ReLU, 3x3 per channel, BN, ReLU, 1x1, BN; added where stride is 1.

    Slots: `pre` the branch's input; `kernel` in place of the 3x3 conv, BN, ReLU; `conv` between that conv and its BN;
    `inner` after the ReLU, before the projection; `branch` after the last BN, where attention may see x too; `shortcut`
    on the shortcut; `post` at the end.
    downsampling: input pixels for one of this block's output pixels.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, expansion: int, downsampling: int, slot: Slot
    ) -> None:
        super().__init__()
        wide = expansion * in_channels
        here = partial(slot, downsampling=downsampling)
        before = partial(slot, downsampling=downsampling // stride)
        self.at_pre = before("pre", in_channels)
        self.conv1 = conv(in_channels, wide)
        self.norm1 = nn.BatchNorm2d(wide)
        # Built even if an attention replaces them, so that at one seed all other weights are those of the other rows.
        self.conv2: nn.Module = conv(wide, wide, 3, stride, groups=wide)
        self.norm2: nn.Module = nn.BatchNorm2d(wide)
        self.at_kernel = here("kernel", wide, in_channels=wide, stride=stride)
        if not isinstance(self.at_kernel, nn.Identity):
            self.conv2 = self.norm2 = nn.Identity()
        self.at_conv = here("conv", wide)
        self.at_inner = here("inner", wide)
        self.conv3 = conv(wide, channels)
        self.norm3 = nn.BatchNorm2d(channels)
        self.at_branch = here("branch", channels, in_channels=in_channels)
        self.adds = stride == 1
        self.shortcut: nn.Module = nn.Identity()
        if self.adds and in_channels != channels:
            self.shortcut = nn.Sequential(conv(in_channels, channels), nn.BatchNorm2d(channels))
        self.at_shortcut = here("shortcut", channels) if self.adds else nn.Identity()
        self.at_post = here("post", channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(self.at_pre(x))))
        y = self.at_inner(F.relu(self.norm2(self.at_conv(self.conv2(self.at_kernel(y))))))
        y = attend(self.at_branch, self.norm3(self.conv3(y)), x)
        return self.at_post(y + self.at_shortcut(self.shortcut(x)) if self.adds else y)


class MobileNetV2(nn.Module):
    """Images (B, 3, H, W) -> {stage1: (B, 24, H, W), stage2: (B, 32, H/2, W/2), stage3: (B, 96, H/4, W/4),
    stage4: (B, 1280, H/8, W/8)}; the last one after the final 1x1 conv, BN and ReLU.

    Slots: those of the block, and `stage` between stages.
    """

    def __init__(self, *, slot: Slot = no_attention) -> None:
        super().__init__()
        self.conv = conv(3, STEM, 3)
        self.norm = nn.BatchNorm2d(STEM)
        self.stages = nn.ModuleDict()
        self.channels = {}
        in_channels = STEM
        for number, groups in enumerate(STAGES, start=1):
            here = partial(slot, stage=number)
            downsampling = 2 ** (number - 1)
            stage = nn.Sequential()
            for expansion, channels, count in groups:
                block = partial(InvertedResidual, expansion=expansion, downsampling=downsampling, slot=here)
                for _ in range(count):
                    stage.append(block(in_channels, channels, 2 if number > 1 and not len(stage) else 1))
                    in_channels = channels
            if number < len(STAGES):
                stage.add_module("at_stage", here("stage", in_channels, downsampling=downsampling))
            self.stages[f"stage{number}"] = stage
            self.channels[f"stage{number}"] = in_channels
        self.last_conv = conv(in_channels, END)
        self.last_norm = nn.BatchNorm2d(END)
        self.channels[f"stage{len(STAGES)}"] = END

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.norm(self.conv(images)))
        features = {}
        for name, stage in self.stages.items():
            features[name] = x = stage(x)
        return features | {name: F.relu(self.last_norm(self.last_conv(x)))}
