"""DenseNet for CIFAR: in a dense block each layer sees the concatenation of all before it.

Source: Huang et al. 2017, Densely Connected Convolutional Networks (arXiv 1608.06993); `densenet40` is that of
firasl/inverse_attention@8c9a08c models/densenet.py: depth 40, growth 12, and bottlenecks that do not halve the number
of layers (36 layers of two convs each), no compression, BN eps 1.1e-5 and Keras' momentum; 743,938 parameters with 10
classes. tests/reference compares outputs and gradients with the authors' code. Its attention stands at the end of each
dense block and of each transition.
Differs from the authors' code in: He normal is not truncated (Keras truncates at two sd); the last layer is the head's,
initialised He normal (there Glorot uniform); an odd map keeps its last row and column in a transition (there they are
dropped).
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.layers import conv
from attnlab.models.slots import Slot, no_attention

STAGES = 3


class Layer(nn.Module):
    """x (B, C, H, W) -> (B, C + growth, H, W): x and, behind it, conv3x3(act(conv1x1(act(x)))); act: BN, ReLU.

    Slots: `pre` on act(x); `inner` after the 1x1 conv, BN and ReLU, 4 * growth channels; `conv` on the new features.
    """

    def __init__(self, in_channels: int, growth: int, *, norm: partial[nn.BatchNorm2d], here: Slot) -> None:
        super().__init__()
        self.norm1 = norm(in_channels)
        self.at_pre = here("pre", in_channels)
        self.conv1 = conv(in_channels, 4 * growth)
        self.norm2 = norm(4 * growth)
        self.at_inner = here("inner", 4 * growth)
        self.conv2 = conv(4 * growth, growth, 3)
        self.at_conv = here("conv", growth)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.at_pre(F.relu(self.norm1(x))))
        y = self.at_conv(self.conv2(self.at_inner(F.relu(self.norm2(y)))))
        return torch.cat([x, y], dim=1)


class Transition(nn.Module):
    """x (B, C, H, W) -> (B, C, H/2, W/2): BN, ReLU, 1x1 conv, 2x2 mean; an odd last row or column is its own mean.

    Slot: `transition`, its end.
    """

    def __init__(self, channels: int, *, norm: partial[nn.BatchNorm2d], here: Slot) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.conv = conv(channels, channels)
        self.at_transition = here("transition", channels, also=("branch",))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(F.relu(self.norm(x)))
        return self.at_transition(F.avg_pool2d(y, 2, ceil_mode=True))


class DenseNet(nn.Module):
    """Images (B, 3, H, W) -> {stage1: (B, C1, H, W), stage2: (B, C2, H/2, W/2), stage3: (B, C3, H/4, W/4)}.

    A stage ends where its dense block does; the last feature is taken after the final BN and ReLU.
    depth: 3n + 4, n layers per dense block;  growth: k, the channels that a layer adds; the stem has 2k;
    norm_eps, norm_momentum: of the BNs (momentum = share of the new batch, as in PyTorch).
    Slots: those of the layer; `dense`, the end of each dense block, on the concatenation of its layers; `transition`;
    `branch`, all of these ends at once (the official code's); `stage`, the ends of the first two dense blocks.
    """

    def __init__(
        self,
        depth: int,
        *,
        growth: int = 12,
        norm_eps: float = 1.1e-5,
        norm_momentum: float = 0.01,
        slot: Slot = no_attention,
    ) -> None:
        super().__init__()
        if depth < 7 or (depth - 4) % STAGES:
            raise ConfigError(f"wrong value model.depth={depth}; allowed is 3n + 4: 7, 10, ..., 40, 100, ...")
        if growth < 1:
            raise ConfigError(f"wrong value model.growth={growth}; allowed is an integer from 1")
        norm = partial(nn.BatchNorm2d, eps=norm_eps, momentum=norm_momentum)
        channels = 2 * growth
        self.conv = conv(3, channels, 3)
        self.stages = nn.ModuleDict()
        self.channels = {}
        for number in range(1, STAGES + 1):
            here = partial(slot, stage=number, downsampling=2 ** (number - 1))
            stage = nn.Sequential()
            if number > 1:
                stage.add_module("transition", Transition(channels, norm=norm, here=here))
            for index in range((depth - 4) // STAGES):
                stage.add_module(str(index), Layer(channels, growth, norm=norm, here=here))
                channels += growth
            last = number == STAGES
            stage.add_module("at_dense", here("dense", channels, also=("branch",) if last else ("branch", "stage")))
            self.stages[f"stage{number}"] = stage
            self.channels[f"stage{number}"] = channels
        self.norm = norm(channels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.conv(images)
        features = {}
        for name, stage in self.stages.items():
            features[name] = x = stage(x)
        return features | {name: F.relu(self.norm(x))}
