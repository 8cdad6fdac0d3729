"""Large Separable Kernel Attention: a score per element from a large depthwise kernel in four 1-d parts.

z = W dwconv_dx1(dwconv_1xd(dwconv_kx1(dwconv_1xk(x)))), the outer two dilated, all with bias, W a 1x1 conv; y = x z:
the default mask is m = z.
Source: Lau et al. 2023 (arXiv 2309.01439), section 3; StevenLauHKHK/Large-Separable-Kernel-Attention@bb2a8d2
models/van.py; kernel 7 is that code's default.
Differs from the authors' code in: place (there between two 1x1 convs of VAN's blocks). PyTorch's default
initialisation (their net: normal by fan-out, behind a layer scale of 0.01).
"""

from torch import Tensor, nn

from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError

#: the kernel that is replaced -> k, the size of the dilated kernel, its dilation; in pixels
PARTS = {7: (3, 3, 2), 11: (3, 5, 2), 23: (5, 7, 3), 35: (5, 11, 3), 41: (5, 13, 3), 53: (5, 17, 3)}


class LSKA(nn.Module):
    """x (B, C, H, W) -> z (B, C, H, W).

    kernel_size: of the kernel that the parts replace, one of PARTS. Raises ConfigError for another.
    """

    def __init__(self, channels: int, *, kernel_size: int = 7) -> None:
        super().__init__()
        if kernel_size not in PARTS:
            raise ConfigError(wrong_value("attention.kernel_size", kernel_size, f"one of {', '.join(map(str, PARTS))}"))
        near, far, dilation = PARTS[kernel_size]
        layers: list[nn.Module] = []
        for size, step in ((near, 1), (far, dilation)):
            reach = step * (size // 2)
            for kernel, padding in (((1, size), (0, reach)), ((size, 1), (reach, 0))):
                layers.append(nn.Conv2d(channels, channels, kernel, 1, padding, step, groups=channels))
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
