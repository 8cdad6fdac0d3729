"""The VGG of Learn To Pay Attention: no pooling in front of the first local features, two convs more at the end.

Convs 3x3 with bias, BN, ReLU, dropout where a rate stands:
local1: 64 (.3) 64 128 (.4) 128 256 (.4) 256 (.4) 256;  local2, local3: pool, 512 (.4) 512 (.4) 512;
global: pool, 512 (.4), pool, 512 (.4), pool, flatten, dropout .5, linear to 512.
Convs start He normal by fan-out. init=jetley2018 with norm_init=uniform is the authors' start: the linear layer
U(-1/sqrt(inputs), 1/sqrt(inputs)), its bias too, BN weights U(0, 1), Torch7's defaults (torch/nn Linear.lua,
BatchNormalization.lua), as their MSRinit is only for convs; init=he makes the linear layer He normal as well.
Source: Jetley et al. 2018 (arXiv 1804.02391), section 4; saumya-jetley/cd_ICLR18_LearnToPayAttention@605c280
VGGNet/models/models_CIFARS/3_level_atten_1global. `maps=after`, no dropout, Xavier and BN weights from U(0, 1) are
SaoYan/LearnToPayAttention@61cf5b2 (model1.py: before, model2.py: after pooling).
Differs from the authors' code in: gradients are summed at junctions, as autograd does; there they are averaged.
"""

import math
from functools import partial

from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.models.slots import Slot, no_attention

#: (channels, dropout) of each conv
LOCAL1 = ((64, 0.3), (64, 0.0), (128, 0.4), (128, 0.0), (256, 0.4), (256, 0.4), (256, 0.0))
LOCAL = ((512, 0.4), (512, 0.4), (512, 0.0))
GLOBAL = ((512, 0.4),)


class ConvUnit(nn.Sequential):
    """conv 3x3, BN, ReLU, dropout. Slots: `conv` before the BN, `post` (also: `branch`) after the ReLU."""

    def __init__(
        self, in_channels: int, channels: int, dropout: float, *, slot: Slot, init: str, norm_init: str, norm_eps: float
    ) -> None:
        conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        norm = nn.BatchNorm2d(channels, eps=norm_eps)
        initialise(conv, init)
        if norm_init == "uniform":
            nn.init.uniform_(norm.weight)
        units: dict[str, nn.Module] = {
            "conv": conv,
            "at_conv": slot("conv", channels),
            "norm": norm,
            "relu": nn.ReLU(),
            "at_post": slot("post", channels, also=("branch",)),
            "dropout": nn.Dropout(dropout),
        }
        super().__init__()
        for name, unit in units.items():
            if name in ("conv", "norm", "relu") or not isinstance(unit, nn.Identity):
                self.add_module(name, unit)


def initialise(layer: nn.Conv2d | nn.Linear, init: str) -> None:
    """Kernel `he` normal by fan-out or `xavier` uniform with gain sqrt(2) (1 for a linear layer); bias 0."""
    if init in ("he", "jetley2018"):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    elif init == "xavier":
        nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(2) if isinstance(layer, nn.Conv2d) else 1.0)
    else:
        raise ConfigError(f"wrong value model.init={init}; allowed are he, jetley2018, xavier")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def dense(channels: int, size: int, init: str) -> nn.Conv2d:
    """The linear layer on a map (B, channels, size, size), as a conv: to (B, channels, 1, 1)."""
    layer = nn.Conv2d(channels, channels, size)
    if init == "jetley2018":
        bound = (channels * size**2) ** -0.5
        nn.init.uniform_(layer.weight, -bound, bound)
        nn.init.uniform_(layer.bias, -bound, bound)  # type: ignore[arg-type]
    else:
        initialise(layer, init)
    return layer


class LtpaVGG(nn.Module):
    """Images (B, 3, S, S) -> {local1: (B, 256, S, S), local2: (B, 512, S/2, S/2), local3: (B, 512, S/4, S/4),
    global: (B, 512, 1, 1)}; with maps=after the local ones are half as large.

    image_size: S, a multiple of 32;  maps: local features `before` or `after` the pooling that follows them;
    dropout: whether the rates above are used;  init: he, jetley2018, xavier;  norm_init: of BN weights, ones or
    uniform;  norm_eps: of the BNs.
    Slots: `conv` before each BN, `post` (also: `branch`) after each ReLU, `stage` after local1 to local3.
    """

    def __init__(
        self,
        *,
        image_size: int,
        maps: str = "before",
        dropout: bool = True,
        init: str = "he",
        norm_init: str = "ones",
        norm_eps: float = 1e-3,
        slot: Slot = no_attention,
    ) -> None:
        super().__init__()
        if image_size % 32:
            raise ConfigError(
                f"wrong value dataset.image_size={image_size}; allowed with this model are multiples of 32"
            )
        if maps not in ("before", "after"):
            raise ConfigError(f"wrong value model.maps={maps}; allowed are before, after (the pooling)")
        if norm_init not in ("ones", "uniform"):
            raise ConfigError(f"wrong value model.norm_init={norm_init}; allowed are ones, uniform")
        self.maps = maps
        self.channels = {"local1": 256, "local2": 512, "local3": 512, "global": 512}
        in_channels = 3

        def group(convs: tuple[tuple[int, float], ...], number: int, downsampling: int) -> nn.Sequential:
            nonlocal in_channels
            here = partial(slot, stage=number, downsampling=downsampling)
            units = nn.Sequential()
            for channels, rate in convs:
                units.append(
                    ConvUnit(
                        in_channels,
                        channels,
                        rate if dropout else 0.0,
                        slot=here,
                        init=init,
                        norm_init=norm_init,
                        norm_eps=norm_eps,
                    )
                )
                in_channels = channels
            stage = nn.Identity() if convs is GLOBAL else here("stage", in_channels)
            if not isinstance(stage, nn.Identity):
                units.add_module("at_stage", stage)
            return units

        self.local1 = group(LOCAL1, 1, 1)
        self.local2 = group(LOCAL, 2, 2)
        self.local3 = group(LOCAL, 3, 4)
        self.global1 = group(GLOBAL, 4, 8)
        self.global2 = group(GLOBAL, 4, 16)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.5 if dropout else 0.0)
        self.dense = dense(512, image_size // 32, init)  # on what is left of the map

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = images
        features = {}
        for name in ("local1", "local2", "local3"):
            before = getattr(self, name)(x)
            x = self.pool(before)
            features[name] = before if self.maps == "before" else x
        x = self.pool(self.global2(self.pool(self.global1(x))))
        return features | {"global": self.dense(self.dropout(x))}
