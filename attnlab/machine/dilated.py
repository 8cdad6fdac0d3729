"""Dilated convolutions in float32 where oneDNN computes their weight gradient wrongly in bfloat16."""

import torch
from torch import Tensor, nn


class Float32Conv2d(nn.Conv2d):
    """A convolution that computes in float32 and returns bfloat16, whatever autocast and the dtype of its weights."""

    def forward(self, input: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.float()
        with torch.autocast("cpu", enabled=False):
            return self._conv_forward(input.float(), self.weight.float(), bias).bfloat16()


def correct_dilated(net: nn.Module, *, device: str, precision: str) -> None:
    """Give each dilated nn.Conv2d of `net` the class Float32Conv2d, in place, if it trains in bfloat16 on a CPU.

    device: `cpu`, `cuda`, ...;  precision: Lightning's name, e.g. bf16-mixed. Parameters and state-dict keys stay.
    oneDNN 3.12 (torch 2.13) with AVX-512 returns a wrong weight gradient, noise or NaN, of a dilated convolution of
    stride 1 in bfloat16 and channels_last, from a width of about 30 pixels on: of a depthwise one on every such CPU,
    of other groups too where the CPU lacks AMX. Output and input gradient are right, and float32 is right.
    tests/machine/test_dilated.py holds every attention's layers against float64.
    """
    if device != "cpu" or not precision.startswith("bf16"):
        return
    for module in net.modules():
        if type(module) is nn.Conv2d and any(step > 1 for step in module.dilation):
            module.__class__ = Float32Conv2d
