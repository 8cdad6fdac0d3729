"""MobileNet v1 for CIFAR: 13 depthwise-separable blocks, a 3x3 conv per channel, then a 1x1 conv across channels.

Source: Howard et al. 2017, MobileNets (arXiv 1704.04861); strides, BN and initialisation are those of
firasl/inverse_attention@8c9a08c models/mobilenets.py: full resolution up to block 5, stride 2 in blocks 6 and 12;
3,217,226 parameters with 10 classes. tests/reference compares outputs and gradients with the authors' code. Its
attention stands at the end of each block.
Differs from the authors' code in: the last layer is the head's, initialised He normal (there Glorot uniform).
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.layers import conv
from attnlab.models.slots import Slot, no_attention

STEM = 32
#: (channels of each block, stride of the first) of each stage; all maps of a stage have one resolution
STAGES = (((64, 128, 128, 256, 256), 1), ((512,) * 6, 2), ((1024,) * 2, 2))


class SeparableBlock(nn.Module):
    """x (B, C_in, H, W) -> act(conv1x1(act(conv3x3 per channel(x)))), (B, C, H / stride, W / stride); act: BN, ReLU6.

    Slots: `pre` on x; `kernel` in place of the 3x3 conv, BN, ReLU6; `inner` after them; `conv` before the last BN;
    `block`, also `branch`, at the end, where the official code has its attention.
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
        norm: partial[nn.BatchNorm2d],
        init: str,
        padding: str,
    ) -> None:
        super().__init__()
        here = partial(slot, downsampling=downsampling)
        self.at_pre = slot("pre", in_channels, downsampling=downsampling // stride)
        # Built even if an attention replaces them, so that at one seed all other weights are those of the other rows.
        self.conv1: nn.Module = conv(
            in_channels, in_channels, 3, stride, groups=in_channels, init=init, padding=padding
        )
        self.norm1: nn.Module = norm(in_channels)
        self.at_kernel = here("kernel", in_channels, in_channels=in_channels, stride=stride)
        if not isinstance(self.at_kernel, nn.Identity):
            self.conv1 = self.norm1 = nn.Identity()
        self.at_inner = here("inner", in_channels)
        self.conv2 = conv(in_channels, channels, init=init)
        self.at_conv = here("conv", channels)
        self.norm2 = norm(channels)
        self.at_block = here("block", channels, also=("branch",))

    def forward(self, x: Tensor) -> Tensor:
        y = self.at_inner(F.relu6(self.norm1(self.conv1(self.at_kernel(self.at_pre(x))))))
        return self.at_block(F.relu6(self.norm2(self.at_conv(self.conv2(y)))))


class MobileNet(nn.Module):
    """Images (B, 3, H, W) -> {stage1: (B, 256, H, W), stage2: (B, 512, H/2, W/2), stage3: (B, 1024, H/4, W/4)}.

    width: alpha, the multiplier of all channels;  init: of the convs, as attnlab.layers.conv;
    norm_eps, norm_momentum: of the BNs (momentum = share of the new batch, as in PyTorch);
    padding: of the convs with stride 2, `both` sides or the `far` one;
    dropout: share of the last feature's channels that are dropped, which after pooling are entries of the vector.
    Slots: those of the block, and `stage` between stages.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        init: str = "glorot_uniform",
        norm_eps: float = 1e-3,
        norm_momentum: float = 0.01,
        padding: str = "both",
        dropout: float = 0.0,
        slot: Slot = no_attention,
    ) -> None:
        super().__init__()
        if int(width * STEM) < 1:
            raise ConfigError(f"wrong value model.width={width}; allowed is a number from {1 / STEM}")
        if not 0 <= dropout < 1:
            raise ConfigError(f"wrong value model.dropout={dropout}; allowed is a number from 0 to below 1")
        norm = partial(nn.BatchNorm2d, eps=norm_eps, momentum=norm_momentum)
        in_channels = int(width * STEM)
        self.conv = conv(3, in_channels, 3, init=init)
        self.norm = norm(in_channels)
        self.stages = nn.ModuleDict()
        self.channels = {}
        for number, (widths, first_stride) in enumerate(STAGES, start=1):
            downsampling = 2 ** (number - 1)
            block = partial(
                SeparableBlock, downsampling=downsampling, slot=partial(slot, stage=number), padding=padding
            )
            stage = nn.Sequential()
            for index, channels in enumerate(int(width * channels) for channels in widths):
                stride = first_stride if index == 0 else 1
                stage.append(block(in_channels, channels, stride, norm=norm, init=init))
                in_channels = channels
            if number < len(STAGES):
                stage.add_module("at_stage", slot("stage", in_channels, stage=number, downsampling=downsampling))
            self.stages[f"stage{number}"] = stage
            self.channels[f"stage{number}"] = in_channels
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = F.relu6(self.norm(self.conv(images)))
        features = {}
        for name, stage in self.stages.items():
            features[name] = x = stage(x)
        return features | {name: self.dropout(x)}
