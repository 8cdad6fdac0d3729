"""Dilated convolutions in float32 where oneDNN computes their weight gradient wrongly in bfloat16."""

import torch
from torch import Tensor, nn


class Float32Conv2d(nn.Conv2d):
    """A convolution that computes in float32, and returns the dtype that nn.Conv2d would return."""

    def forward(self, input: Tensor) -> Tensor:
        autocast = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if autocast else input.dtype
        bias = None if self.bias is None else self.bias.float()
        with torch.autocast("cpu", enabled=False):
            return self._conv_forward(input.float(), self.weight.float(), bias).to(dtype)


def correct_dilated(net: nn.Module, *, device: str, precision: str) -> None:
    """Give each dilated nn.Conv2d of `net` the class Float32Conv2d, in place, if it trains in bfloat16 on a CPU.

    device: `cpu`, `cuda`, ...;  precision: Lightning's name, e.g. bf16-mixed. Parameters and state-dict keys stay, and
    so do subclasses of nn.Conv2d.
    oneDNN 3.12 (torch 2.13) with AVX-512 returns a wrong weight gradient, noise or NaN, of a dilated convolution of
    stride 1 in bfloat16 and channels_last, from a width of about 30 pixels on: of a depthwise one on every such CPU; of
    other groups, and of a dense one of 24 channels, where the CPU lacks AMX. Dense ones of 1, 2, 4, 8, 16, 32 and 64
    channels are right, and so are all outputs, all input gradients, and float32. tests/machine/test_dilated.py compares
    every attention's layers with float64.
    """
    if device != "cpu" or not precision.startswith("bf16"):
        return
    for module in net.modules():
        if type(module) is nn.Conv2d and any(step > 1 for step in module.dilation):
            module.__class__ = Float32Conv2d
