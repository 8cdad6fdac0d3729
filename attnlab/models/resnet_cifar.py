"""The CIFAR ResNet of depth 6n + 2: three stages of n basic blocks, 16, 32 and 64 channels.

Source: He et al. 2016, Deep Residual Learning (arXiv 1512.03385), section 4.2. `resnet50_cifar` is the "ResNet50" of
firasl/inverse_attention@8c9a08c models/resnet_v1.py: depth 50 = 6*8 + 2, biased convs, Keras' BN, 1x1 shortcut
without BN, and `padding: far`, Keras' `same`. tests/reference compares outputs and gradients with the authors' code.
Differs from the authors' code in: He normal is not truncated (Keras truncates at two sd).
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.layers import conv
from attnlab.models.slots import Slot, attend, no_attention

WIDTHS = (16, 32, 64)


class PadShortcut(nn.Module):
    """Option A: every `stride`-th pixel, new channels filled with zeros; no parameters."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (channels - in_channels) // 2
        self.after = channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """x (B, C_in, H, W) -> relu(shortcut(x) + branch(x)), (B, C, H / stride, W / stride).

    Slots: `pre` the branch's input; `kernel` in place of the first conv-BN-ReLU; `inner` after it; `conv` before the
    last BN; `branch` after it, before the addition, where attention may see the block's input too; `shortcut` on the
    shortcut; `post` after the addition and its ReLU.
    downsampling: input pixels for one of this block's output pixels.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        *,
        downsampling: int,
        slot: Slot,
        bias: bool,
        norm: Callable[[int], nn.Module],
        shortcut: str,
        padding: str = "both",
    ) -> None:
        super().__init__()
        here = partial(slot, channels=channels, downsampling=downsampling)
        self.at_pre = slot("pre", in_channels, downsampling=downsampling // stride)
        # Built even if an attention replaces them, so that at one seed all other weights are those of the other rows.
        self.conv1: nn.Module = conv(in_channels, channels, 3, stride, bias=bias, padding=padding)
        self.norm1: nn.Module = norm(channels)
        self.at_kernel = here("kernel", in_channels=in_channels, stride=stride)
        if not isinstance(self.at_kernel, nn.Identity):
            self.conv1 = self.norm1 = nn.Identity()
        self.at_inner = here("inner")
        self.conv2 = conv(channels, channels, 3, bias=bias)
        self.at_conv = here("conv")
        self.norm2 = norm(channels)
        self.at_branch = here("branch", in_channels=in_channels)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != channels or stride != 1:
            if shortcut == "A":
                self.shortcut = PadShortcut(in_channels, channels, stride)
            elif shortcut == "B":
                self.shortcut = nn.Sequential(conv(in_channels, channels, 1, stride, bias=bias), norm(channels))
            else:
                self.shortcut = conv(in_channels, channels, 1, stride, bias=bias)
        self.at_shortcut = here("shortcut")
        self.at_post = here("post")

    def forward(self, x: Tensor) -> Tensor:
        y = self.at_inner(F.relu(self.norm1(self.conv1(self.at_kernel(self.at_pre(x))))))
        y = attend(self.at_branch, self.norm2(self.at_conv(self.conv2(y))), x)
        return self.at_post(F.relu(y + self.at_shortcut(self.shortcut(x)), inplace=True))


class ResNet(nn.Module):
    """Images (B, 3, H, W) -> {stage1: (B, 16, H, W), stage2: (B, 32, H/2, W/2), stage3: (B, 64, H/4, W/4)}.

    Not the ResNet of models/resnet.py, which has ImageNet's blocks and widths.
    depth: 6n + 2;  shortcut where the shape changes: `A` padding, `B` 1x1 conv + BN, `conv` 1x1 conv;
    bias: of the convs;  norm_eps, norm_momentum: of the BNs (momentum = share of the new batch, as in PyTorch);
    padding: of the 3x3 convs with stride 2, `both` sides or the `far` one.
    Slots: those of the block, and `stage` after stages 1 and 2.
    Raises ConfigError for another depth or shortcut.
    """

    def __init__(
        self,
        depth: int,
        *,
        shortcut: str = "B",
        bias: bool = False,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        padding: str = "both",
        slot: Slot = no_attention,
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ConfigError(f"wrong value model.depth={depth}; allowed is 6n + 2: 8, 14, 20, 32, 44, 56, 110, ...")
        if shortcut not in ("A", "B", "conv"):
            raise ConfigError(
                f"wrong value model.shortcut={shortcut}; allowed are A (padding), B (1x1 conv + BN), conv (1x1 conv)"
            )
        norm = partial(nn.BatchNorm2d, eps=norm_eps, momentum=norm_momentum)
        block = partial(BasicBlock, bias=bias, norm=norm, shortcut=shortcut, padding=padding)
        self.conv = conv(3, WIDTHS[0], 3, bias=bias)
        self.norm = norm(WIDTHS[0])
        self.channels = {}
        stages: list[nn.Module] = []
        between: list[nn.Module] = []
        in_channels = WIDTHS[0]
        for number, channels in enumerate(WIDTHS, start=1):
            downsampling = 2 ** (number - 1)
            here = partial(slot, stage=number)
            stage = nn.Sequential()
            for index in range((depth - 2) // 6):
                stride = 2 if number > 1 and index == 0 else 1
                stage.append(block(in_channels, channels, stride, downsampling=downsampling, slot=here))
                in_channels = channels
            stages.append(stage)
            self.channels[f"stage{number}"] = channels
            last = number == len(WIDTHS)
            between.append(nn.Identity() if last else here("stage", channels, downsampling=downsampling))
        self.stage1, self.stage2, self.stage3 = stages
        self.at_stage1, self.at_stage2 = between[:2]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.norm(self.conv(images)))
        stage1 = self.at_stage1(self.stage1(x))
        stage2 = self.at_stage2(self.stage2(stage1))
        return {"stage1": stage1, "stage2": stage2, "stage3": self.stage3(stage2)}
