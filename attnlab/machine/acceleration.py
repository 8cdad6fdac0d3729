"""The guarded import of machine/kernels/: without that folder every net runs in its plain form, only slower."""

from torch import nn


def accelerate(net: nn.Module, *, device: str, precision: str, channels_last: bool) -> None:
    """Exchange gates and norms of a net for fused forms, in place, if it trains in bf16 and channels_last on a CPU.

    device: `cpu`, `cuda`, ...;  precision: Lightning's name, e.g. bf16-mixed. Nothing else is exchanged, nor anything
    where the C kernels cannot be built.
    """
    if device != "cpu" or not precision.startswith("bf16") or not channels_last:
        return
    try:
        from attnlab.machine.kernels import accelerate as exchange
    except ImportError as error:
        if error.name != "attnlab.machine.kernels":  # something that the kernels import is missing
            raise
        return
    exchange(net)
