"""The Wide ResNet of depth 6n + 4: pre-activation basic units, 16k, 32k and 64k channels.

Source: Zagoruyko and Komodakis 2016, Wide Residual Networks (arXiv 1605.07146), section 2: WRN-16-8, WRN-28-10.
ZjjConan/SimAM@ae98f43 networks/cifar/wideresnet.py has WRN-28-10 and WRN-40-10, with dropout 0.3. (The "WRN-20x10" of
its paper is not in that code, and 20 is no 6n + 4.)
Differs from the authors' code in: nothing known but the initialisation, He normal by fan-in (SimAM's: by fan-out).
"""

from attnlab.errors import ConfigError
from attnlab.models.preact_resnet import PreActResNet
from attnlab.models.slots import Slot, no_attention

STEM = 16


class WideResNet(PreActResNet):
    """Images (B, 3, H, W) -> {stage1: (B, 16k, H, W), stage2: (B, 32k, H/2, W/2), stage3: (B, 64k, H/4, W/4)}.

    depth: 6n + 4;  width: k;  dropout: share of zeros between the two convs of a branch.
    Slots: those of PreActResNet's basic unit, and `stage` between stages.
    """

    def __init__(self, depth: int, *, width: int, dropout: float = 0.0, slot: Slot = no_attention) -> None:
        if depth < 10 or (depth - 4) % 6:
            raise ConfigError(f"wrong value model.depth={depth}; allowed is 6n + 4: 10, 16, 22, 28, 40, ...")
        if width < 1:
            raise ConfigError(f"wrong value model.width={width}; allowed is an integer from 1")
        blocks = [(depth - 4) // 6] * 3
        widths = [STEM * width * 2**index for index in range(3)]
        super().__init__(blocks=blocks, widths=widths, stem=STEM, block="basic", dropout=dropout, slot=slot)
