"""Gather-Excite: a score per channel and neighbourhood of extent e (0: the whole map).

GE-theta-: z = avgpool_e(x), no parameters; pooling window 2e - 1, stride e, borders averaged over real pixels.
GE-theta: z = BN(dwconv ... (x)): log2(e) depthwise 3x3 convs of stride 2, each with BN, ReLU between them (the paper's
text has e / 2 of them, which is the same for e = 2 and 4 and too many for 8); e = 0: one depthwise conv as large as
the map.
GE-theta+: z = W2 relu(W1 relu(gather(x))), gather of GE-theta, W 1x1 convs with C / r hidden channels, N(0, 0.01).
Gate upsamples the mask of z by nearest neighbour.
Source: Hu et al. 2018, Gather-Excite (arXiv 1810.12348), section 3; layers: hujie-frank/GENet@ae791f8 (Caffe).
Differs from the authors' code in: BN momentum 0.1 (Caffe's 0.95 is 0.05). timm 1.0.31 pads the global conv of GE-theta,
which then gathers a 7x7 map out of 8x8; here as in the paper 1x1.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.attention.excitation import Excitation
from attnlab.errors import ConfigError
from attnlab.layers import Mean


def _check_extent(extent: int) -> None:
    if extent < 0 or extent == 1 or extent & (extent - 1):
        raise ConfigError(f"wrong value attention.extent={extent}; allowed are 0 (the whole map), 2, 4, 8, ...")


class MeanAround(nn.Module):
    """x (B, C, H, W) -> (B, C, H/e, W/e): the mean over windows of 2e - 1 pixels, over the real pixels at a border."""

    def __init__(self, extent: int) -> None:
        super().__init__()
        self.extent = extent

    def forward(self, x: Tensor) -> Tensor:
        e = self.extent
        return F.avg_pool2d(x, 2 * e - 1, e, e - 1, count_include_pad=False)


class GEThetaMinus(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1), or (B, C, H/e, W/e) with an extent; no parameters."""

    def __init__(self, channels: int, *, extent: int = 0) -> None:
        super().__init__()
        _check_extent(extent)
        self.squeeze = MeanAround(extent) if extent else Mean()

    def forward(self, x: Tensor) -> Tensor:
        return self.from_squeezed(self.squeeze(x))

    def from_squeezed(self, v: Tensor) -> Tensor:
        """v (B, C) -> z (B, C, 1, 1); v (B, C, H/e, W/e) is z."""
        return v[:, :, None, None] if v.dim() == 2 else v


class Gather(nn.Module):
    """x (B, C, H, W) -> (B, C, H/e, W/e), or (B, C, 1, 1) for e = 0; `size`: H = W of the maps, for e = 0."""

    def __init__(self, channels: int, *, size: int, extent: int) -> None:
        super().__init__()
        _check_extent(extent)
        self.size = size if extent == 0 else None
        layers: list[nn.Module] = []
        for number in range(1 if extent == 0 else int(math.log2(extent))):
            if number:
                layers.append(nn.ReLU())
            kernel, stride, padding = (size, 1, 0) if extent == 0 else (3, 2, 1)
            gather = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False)
            nn.init.kaiming_normal_(gather.weight, nonlinearity="relu")
            layers += [gather, nn.BatchNorm2d(channels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        if self.size is not None and x.shape[-2:] != (self.size, self.size):
            raise ConfigError(
                f"attention.extent=0: this gather is a convolution as large as the {self.size}x{self.size} map it was "
                f"built for, the map here is {x.shape[-2]}x{x.shape[-1]}; use attention.extent=4 for maps of any size"
            )
        return self.layers(x)


class GETheta(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1), or (B, C, H/e, W/e) with an extent. size: H = W of the maps."""

    def __init__(self, channels: int, *, size: int, extent: int = 0) -> None:
        super().__init__()
        self.gather = Gather(channels, size=size, extent=extent)

    def forward(self, x: Tensor) -> Tensor:
        return self.gather(x)


class GEThetaPlus(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1), or (B, C, H/e, W/e) with an extent. reduction: r of the 1x1 convs."""

    def __init__(self, channels: int, *, size: int, extent: int = 0, reduction: int = 16) -> None:
        super().__init__()
        self.gather = Gather(channels, size=size, extent=extent)
        self.excite = Excitation(channels, reduction=reduction, init_std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        gathered = torch.relu(self.gather(x))
        return self.excite(gathered.movedim(1, -1)).movedim(-1, 1)
