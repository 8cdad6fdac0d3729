"""The VGGs of Learn To Pay Attention that attend within: level 1 gates its own features, level 2 sees what is left.

l1 = local features of level 1, g1 = global(l1), its own branch; c1 = <u, l1 + g1> + b at each position;
sigmoid: l1' = l1 * s(c1), the progressive attention network (PAN);  softmax: l1' = l1 * softmax over positions of c1;
l2 = what the next convs make of l1', g2 = global(l2), a second branch. With `head=ltpa_pan` the
softmax-weighted sum of l2 by <u, l2 + g2> is classified after BN, ReLU, dropout .5: the authors' nets.
gate_at=high: l1 is 512 x S/2 x S/2;  low: 256 x S x S. 24,698,955 and 21,551,947 parameters with that head and 10
classes, one (the bias that the head's softmax cancels) fewer than there.
Source: Jetley et al. 2018 (arXiv 1804.02391), section 4; saumya-jetley/cd_ICLR18_LearnToPayAttention@605c280
VGGNet/models/models_CIFARS/: 2_level_atten_higherlevel_PAN (high, sigmoid), 2_level_atten_higherlevel (high, softmax:
HL), 2_level_atten_lowerlevel (low, softmax: LL), wired by lua_source/main_multiplicativeatt_hl_ll.lua.
With softmax <u, g1> is the same at every position and cancels: HL and LL do not depend on their first global branch.
Differs from the authors' code in: gradients are summed at junctions, as autograd does; there they are averaged.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.layers import OverPositions
from attnlab.models.slots import Slot, no_attention
from attnlab.models.vgg_ltpa import GLOBAL, LOCAL, LOCAL1, ConvUnit, dense, initialise

GATES: dict[str, Callable[[], nn.Module]] = {"sigmoid": nn.Sigmoid, "softmax": OverPositions}
#: gate_at -> (channels of level 1, its downsampling, the pooling in front of its global branch's convs, how many)
LEVELS = {"high": (512, 2, 2), "low": (256, 1, 3)}


class PositionGate(nn.Module):
    """l (B, C, H, W), g (B, C, 1, 1) -> l * gate(<u, l + g> + b), the shape of l."""

    def __init__(self, channels: int, gate: str) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)
        initialise(self.score, "he")
        self.mask = GATES[gate]()

    def forward(self, l: Tensor, g: Tensor) -> Tensor:  # noqa: E741  the paper's name
        return l * self.mask(self.score(l + g))


class PanVGG(nn.Module):
    """Images (B, 3, S, S) -> {local1: the gated map (B, 512, S/2, S/2), low: (B, 256, S, S), local2:
    (B, 512, S/4, S/4), global: (B, 512, 1, 1)}.

    image_size: S, a multiple of 32;  gate: sigmoid, softmax;  gate_at: high, low;  dropout: whether the authors' rates
    are used;  init: he, jetley2018;  norm_init: of BN weights, ones or uniform, see vgg_ltpa.py;  norm_eps: of the BNs.
    Slots: `conv` before each BN, `post` (also: `branch`) after each ReLU, `stage` after the convs of each resolution.
    """

    def __init__(
        self,
        *,
        image_size: int,
        gate: str = "sigmoid",
        gate_at: str = "high",
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
        choices = (
            ("gate", gate, tuple(GATES)), ("gate_at", gate_at, tuple(LEVELS)), ("init", init, ("he", "jetley2018")),
            ("norm_init", norm_init, ("ones", "uniform")),
        )  # fmt: skip
        for key, value, allowed in choices:
            if value not in allowed:
                raise ConfigError(f"wrong value model.{key}={value}; allowed are {', '.join(allowed)}")
        width, downsampling, convs = LEVELS[gate_at]
        unit = partial(ConvUnit, init=init, norm_init=norm_init, norm_eps=norm_eps)

        def group(channels: int, number: int, rates: tuple[tuple[int, float], ...]) -> nn.Sequential:
            here = partial(slot, stage=number, downsampling=2 ** (number - 1))
            units = nn.Sequential()
            for width, rate in rates:
                units.append(unit(channels, width, rate if dropout else 0.0, slot=here))
                channels = width
            stage = here("stage", channels)
            if not isinstance(stage, nn.Identity):
                units.add_module("at_stage", stage)
            return units

        def branch(channels: int, downsampling: int, convs: int) -> nn.Sequential:
            """What follows the first pooling: conv, pool; ...; dropout, linear on what is left of the map."""
            layers = nn.Sequential()
            for index in range(convs):
                here = partial(slot, stage=4, downsampling=downsampling * 2**index)
                rate = GLOBAL[0][1] if dropout else 0.0
                layers.extend([unit(channels, channels, rate, slot=here), nn.MaxPool2d(2)])
            return layers.extend([nn.Dropout(0.5 if dropout else 0.0), dense(channels, image_size // 32, init)])

        self.stage1 = group(3, 1, LOCAL1)
        self.stage2 = group(256, 2, LOCAL)
        self.stage3 = group(512, 3, LOCAL)
        self.pool = nn.MaxPool2d(2)
        self.gated_after = 2 if gate_at == "high" else 1
        self.global1 = nn.Sequential(nn.MaxPool2d(4), *branch(width, 4 * downsampling, convs))
        self.gate = PositionGate(width, gate)
        self.global2 = nn.Sequential(nn.MaxPool2d(2), *branch(512, 8, 2))
        self.channels = {"local1": width, "local2": 512, "global": 512}

    def _before_gate(self, images: Tensor) -> Tensor:
        x = self.stage1(images)
        return self.stage2(self.pool(x)) if self.gated_after == 2 else x

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """{local1: the scores c1, (B, 1, H, W)}: sigmoid or softmax of them is the gate. local2's are the head's."""
        x = self._before_gate(images)
        return {"local1": self.gate.score(x + self.global1(x))}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self._before_gate(images)
        gated = self.gate(x, self.global1(x))
        x = self.pool(gated)
        local2 = self.stage3(x if self.gated_after == 2 else self.pool(self.stage2(x)))
        return {"local1": gated, "local2": local2, "global": self.global2(local2)}
