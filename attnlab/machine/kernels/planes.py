"""The convolution of CBAM's spatial score, two planes to one, which oneDNN runs slowly."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from attnlab.machine.kernels import passes
from attnlab.machine.kernels.fused import Fused, once


class _ConvPlanes(Function):
    @staticmethod
    def forward(ctx: Any, planes: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(planes, weight)
        return passes.conv_planes(planes, weight)

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:
        once()
        return passes.conv_planes_backward(dout, *ctx.saved_tensors)


class Conv(Fused):
    """A `same` convolution of two bfloat16 planes to one, (B, 2, H, W) -> (B, 1, H, W), with a float32 kernel."""

    weight: Tensor

    @classmethod
    def fits(cls, module: nn.Module) -> bool:
        assert isinstance(module, nn.Conv2d)
        k = module.kernel_size[0]
        same = module.kernel_size == (k, k) and module.padding == (k // 2, k // 2) and k % 2 == 1
        simple = module.stride == module.dilation == (1, 1) and module.groups == 1 and module.padding_mode == "zeros"
        return same and simple and (module.in_channels, module.out_channels) == (2, 1) and module.bias is None

    def fused(self, planes: Tensor) -> Tensor:
        suits = planes.dtype == torch.bfloat16 and planes.numel() > 0 and self.weight.dtype == torch.float32
        return _ConvPlanes.apply(planes, self.weight) if suits and planes.dim() == 4 else self.plain(planes)
