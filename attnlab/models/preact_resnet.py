"""The pre-activation ResNet: BN and ReLU come before each conv, nothing after the addition; basic or bottleneck units.

Source: He et al. 2016, Identity Mappings in Deep Residual Networks (arXiv 1603.05027), ResNet-110 and -164 of 9n + 2
layers; the latter also in saumya-jetley/cd_ICLR18_LearnToPayAttention@605c280 RESNET/models, 1,703,258 parameters
with 10 classes. `preact_resnet50` is the backbone of SResNet50, ma-xu/ResidualAttention@045265c models/s_resnet.py,
which has no BN-ReLU at its end. `preresnet20`, `56` and `110` (6n + 2 layers, basic units) are those of
ZjjConan/SimAM@ae98f43 networks/cifar/preresnet.py.
Differs from the authors' code in: He normal is by fan-in (there: by fan-out; SimAM's: PyTorch's default); Learn To Pay
Attention's RN-164-att1 and -att2, whose global vector comes from a branch of its own, are not built.
"""

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.layers import conv
from attnlab.models.slots import Slot, attend, no_attention
from attnlab.models.stages import residual_stages


class Basic(nn.Module):
    """a (B, C_in, H, W), activated -> conv3x3(relu(BN(conv3x3(a)))), (B, C, H / stride, W / stride).

    Slots: `kernel` in place of the first conv, BN, ReLU; `inner` after them; `conv` after the second conv.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, *, here: Slot, strided: int, dropout: float) -> None:
        super().__init__()
        # Built even if an attention replaces them, so that at one seed all other weights are those of the other rows.
        self.conv1: nn.Module = conv(in_channels, width, 3, stride)
        self.norm: nn.Module = nn.BatchNorm2d(width)
        self.at_kernel = here("kernel", width, in_channels=in_channels, stride=stride)
        if not isinstance(self.at_kernel, nn.Identity):
            self.conv1 = self.norm = nn.Identity()
        self.at_inner = here("inner", width)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv(width, width, 3)
        self.at_conv = here("conv", width)

    def forward(self, a: Tensor) -> Tensor:
        y = self.at_inner(F.relu(self.norm(self.conv1(self.at_kernel(a)))))
        return self.at_conv(self.conv2(self.dropout(y)))


class Bottleneck(nn.Module):
    """a (B, C_in, H, W), activated -> 1x1, BN, ReLU, 3x3, BN, ReLU, 1x1, (B, 4 * width, H / stride, W / stride).

    Slots: `kernel` in place of the 3x3 conv, BN, ReLU; `conv` between that conv and its BN; `inner` after the ReLU.
    strided: which conv has the stride, 1 or 2.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, *, here: Slot, strided: int, dropout: float) -> None:
        super().__init__()
        strides = (stride, 1) if strided == 1 else (1, stride)
        self.conv1 = conv(in_channels, width, 1, strides[0])
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2: nn.Module = conv(width, width, 3, strides[1])
        self.norm2: nn.Module = nn.BatchNorm2d(width)
        self.at_kernel = here("kernel", width, in_channels=width, stride=strides[1])
        if not isinstance(self.at_kernel, nn.Identity):
            self.conv2 = self.norm2 = nn.Identity()
        self.at_conv = here("conv", width)
        self.at_inner = here("inner", width)
        self.dropout = nn.Dropout(dropout)
        self.conv3 = conv(width, self.expansion * width)

    def forward(self, a: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(a)))
        y = self.at_inner(F.relu(self.norm2(self.at_conv(self.conv2(self.at_kernel(y))))))
        return self.conv3(self.dropout(y))


class Unit(nn.Module):
    """x (B, C_in, H, W) -> shortcut(x) + branch(a), a = relu(BN(x)).

    Where the shape changes the shortcut is a 1x1 conv, of a (`activated`) or of x (`raw`).
    Slots: the branch's, and `pre` on a, seen only by the branch; `branch` after it, where attention may see x too;
    `shortcut` on the shortcut; `post` after the addition.
    downsampling: input pixels for one of this unit's output pixels.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        *,
        downsampling: int,
        slot: Slot,
        branch: type[Basic] | type[Bottleneck],
        shortcut: str,
        strided: int,
        dropout: float,
    ) -> None:
        super().__init__()
        channels = branch.expansion * width
        here = partial(slot, downsampling=downsampling)
        self.norm = nn.BatchNorm2d(in_channels)
        self.at_pre = slot("pre", in_channels, downsampling=downsampling // stride)
        self.branch = branch(in_channels, width, stride, here=here, strided=strided, dropout=dropout)
        self.at_branch = here("branch", channels, in_channels=in_channels)
        self.raw = shortcut == "raw"
        same = in_channels == channels and stride == 1
        self.shortcut = None if same else conv(in_channels, channels, 1, stride)
        self.at_shortcut = here("shortcut", channels)
        self.at_post = here("post", channels)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.norm(x))
        y = attend(self.at_branch, self.branch(self.at_pre(a)), x)
        straight = x if self.shortcut is None else self.shortcut(x if self.raw else a)
        return self.at_post(y + self.at_shortcut(straight))


BRANCHES: dict[str, type[Basic] | type[Bottleneck]] = {"basic": Basic, "bottleneck": Bottleneck}


class PreActResNet(nn.Module):
    """Images (B, 3, H, W) -> {stage1: (B, C1, H, W), stage2: (B, C2, H/2, W/2), ...}; the last one after BN and ReLU.

    blocks: units of each stage;  widths: channels of each stage's 3x3 convs; a bottleneck's output has four times as
    many;  stem: channels of the first conv;  block: basic, bottleneck;  shortcut where the shape changes: `activated`,
    `raw`;  strided: which of a bottleneck's convs has the stride, 1 (1x1) or 2 (3x3);  dropout: in the branch, before
    its last conv;  final_norm: BN and ReLU after the last stage.
    Slots: those of the unit, and `stage` between stages.
    """

    def __init__(
        self,
        *,
        blocks: Sequence[int],
        widths: Sequence[int] = (16, 32, 64),
        stem: int = 16,
        block: str = "bottleneck",
        shortcut: str = "activated",
        strided: int = 1,
        dropout: float = 0.0,
        final_norm: bool = True,
        slot: Slot = no_attention,
    ) -> None:
        super().__init__()
        if block not in BRANCHES:
            raise ConfigError(f"wrong value model.block={block}; allowed are {', '.join(BRANCHES)}")
        if shortcut not in ("activated", "raw"):
            raise ConfigError(
                f"wrong value model.shortcut={shortcut}; allowed are activated, raw (what the 1x1 conv takes)"
            )
        if strided not in (1, 2):
            raise ConfigError(f"wrong value model.strided={strided}; allowed are 1 (the first 1x1 conv), 2 (the 3x3)")
        if not 0 <= dropout < 1:
            raise ConfigError(f"wrong value model.dropout={dropout}; allowed is a number from 0 to below 1")
        branch = BRANCHES[block]
        unit = partial(Unit, branch=branch, shortcut=shortcut, strided=strided, dropout=dropout)
        self.conv = conv(3, stem, 3)
        self.stages, self.channels = residual_stages(
            unit, stem, blocks=blocks, widths=widths, expansion=branch.expansion, slot=slot
        )
        self.last = list(self.channels)[-1]
        self.norm = nn.BatchNorm2d(self.channels[self.last]) if final_norm else None

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.conv(images)
        features = {}
        for name, stage in self.stages.items():
            features[name] = x = stage(x)
        if self.norm is not None:
            features[self.last] = F.relu(self.norm(x))
        return features
