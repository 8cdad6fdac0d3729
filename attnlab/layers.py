"""Convolutions that initialise themselves at birth, so that no sweep over a finished model ever touches attention."""

from torch import nn

from attnlab.errors import ConfigError

MODES = ("fan_in", "fan_out")
INITS = (*MODES, "glorot_uniform")


def conv(
    in_channels: int,
    channels: int,
    kernel_size: int = 1,
    stride: int = 1,
    *,
    bias: bool = False,
    dilation: int = 1,
    groups: int = 1,
    init: str | float = "fan_in",
) -> nn.Conv2d:
    """A `same`-padded convolution; its bias is zero.

    init: He normal by `fan_in` or `fan_out` (He et al. 2015, arXiv 1502.01852); `glorot_uniform` (Glorot and Bengio
    2010, Keras' default); or the sd of a normal, 0 = all zero.
    """
    layer = nn.Conv2d(
        in_channels, channels, kernel_size, stride, dilation * (kernel_size // 2), dilation, groups, bias=bias
    )
    if isinstance(init, str) and init not in INITS:
        raise ConfigError(f"init={init}: allowed are {', '.join(INITS)}, or a standard deviation")
    if init == "glorot_uniform":
        nn.init.xavier_uniform_(layer.weight)
    elif isinstance(init, str):
        nn.init.kaiming_normal_(layer.weight, mode=init, nonlinearity="relu")  # type: ignore[arg-type]
    elif init == 0:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=init)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
