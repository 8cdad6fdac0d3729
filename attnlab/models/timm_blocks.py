"""timm's residual blocks, BasicBlock and Bottleneck, with our slots between their layers.

Source: timm 1.0.31 models/resnet.py. A block here takes over the layers of a finished block of timm's under their own
names, so that timm's weights load, and calls them in timm's order.
Differs from timm's code in: only the slots; without attention the outputs are bit-equal.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import timm.models.resnet as timm_resnet
from torch import Tensor, nn

from attnlab.models.slots import Slot, attend


class _Layers(nn.Module):
    """The layers of timm's block, under their own names; identity where it has None."""

    conv1: nn.Module
    bn1: nn.Module
    act1: nn.Module
    conv2: nn.Module
    bn2: nn.Module
    act2: nn.Module
    drop_block: nn.Module
    aa: nn.Module
    se: nn.Module
    drop_path: nn.Module
    downsample: nn.Module
    at_branch: nn.Module
    at_shortcut: nn.Module
    at_post: nn.Module

    def __init__(self, block: Any) -> None:
        super().__init__()
        for name, layer in block.named_children():
            self.add_module(name, layer)
        for name in ("se", "drop_path", "downsample"):
            if getattr(block, name) is None:
                self.add_module(name, nn.Identity())


class BasicBlock(_Layers):
    """x (B, C_in, H, W) -> relu(shortcut(x) + branch(x)), (B, C, H / stride, W / stride); two 3x3 convs.

    Slots: `pre` the branch's input; `kernel` in place of the first conv and BN; `inner` after their ReLU; `conv` before
    the last BN; `branch` after it, before the addition, where attention may see the block's input too; `shortcut` on
    the shortcut; `post` after the addition and its ReLU.
    downsampling: input pixels for one of this block's output pixels.
    """

    def __init__(self, block: Any, *, downsampling: int, slot: Slot) -> None:
        super().__init__(block)
        before = downsampling // block.stride
        in_channels, width, channels = block.conv1.in_channels, block.conv1.out_channels, block.conv2.out_channels
        here = partial(slot, downsampling=downsampling)
        self.at_pre = slot("pre", in_channels, downsampling=before)
        stride = block.conv1.stride[0]  # 1 where an anti-aliasing layer has it
        self.at_kernel = slot("kernel", width, in_channels=in_channels, stride=stride, downsampling=before * stride)
        if not isinstance(self.at_kernel, nn.Identity):
            self.conv1 = self.bn1 = nn.Identity()
        self.at_inner = here("inner", width)
        self.at_conv = here("conv", channels)
        self.at_branch = here("branch", channels, in_channels=in_channels)
        self.at_shortcut = here("shortcut", channels)
        self.at_post = here("post", channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.drop_block(self.bn1(self.conv1(self.at_kernel(self.at_pre(x))))))
        y = self.bn2(self.at_conv(self.conv2(self.at_inner(self.aa(y)))))
        y = self.drop_path(attend(self.at_branch, self.se(y), x))
        return self.at_post(self.act2(y + self.at_shortcut(self.downsample(x))))


class Bottleneck(_Layers):
    """x (B, C_in, H, W) -> relu(shortcut(x) + branch(x)), (B, C, H / stride, W / stride); 1x1, 3x3, 1x1 conv.

    Slots: as BasicBlock's; `kernel` in place of the 3x3 conv and BN, `conv` between them, `inner` after their ReLU.
    downsampling: input pixels for one of this block's output pixels.
    """

    conv3: nn.Module
    bn3: nn.Module
    act3: nn.Module

    def __init__(self, block: Any, *, downsampling: int, slot: Slot) -> None:
        super().__init__(block)
        before = downsampling // block.stride
        in_channels, width, channels = block.conv1.in_channels, block.conv2.out_channels, block.conv3.out_channels
        here = partial(slot, downsampling=downsampling)
        self.at_pre = slot("pre", in_channels, downsampling=before)
        stride = block.conv2.stride[0]  # 1 where an anti-aliasing layer has it
        amid = partial(slot, downsampling=before * stride)
        self.at_kernel = amid("kernel", width, in_channels=block.conv2.in_channels, stride=stride)
        if not isinstance(self.at_kernel, nn.Identity):
            self.conv2 = self.bn2 = nn.Identity()
        self.at_conv = amid("conv", width)
        self.at_inner = here("inner", width)
        self.at_branch = here("branch", channels, in_channels=in_channels)
        self.at_shortcut = here("shortcut", channels)
        self.at_post = here("post", channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv1(self.at_pre(x))))
        y = self.act2(self.drop_block(self.bn2(self.at_conv(self.conv2(self.at_kernel(y))))))
        y = self.bn3(self.conv3(self.at_inner(self.aa(y))))
        y = self.drop_path(attend(self.at_branch, self.se(y), x))
        return self.at_post(self.act3(y + self.at_shortcut(self.downsample(x))))


#: timm's class, exactly -> ours; its further families (SK, Res2Net, ResNeSt) have other layers
BLOCKS: dict[type, Callable[..., nn.Module]] = {
    timm_resnet.BasicBlock: BasicBlock,
    timm_resnet.Bottleneck: Bottleneck,
}
