"""A branch's end as a module, its BN and its maps, in bfloat16 and channels_last."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from attnlab.machine.kernels import accelerate, compile, norms
from attnlab.machine.kernels.norms import norm_gate, norm_gate_add_relu


def accelerated(module: nn.Module) -> nn.Module:
    """A copy of the module whose gates and norms are exchanged."""
    module = copy.deepcopy(module)
    accelerate(module)
    return module


def noted_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the C functions that norms.py calls, from now on."""
    found: list[str] = []

    def call(name: str, *arguments: object) -> None:
        found.append(name)
        compile.call(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(norms, "call", call)
    return found


def low(*shape: int, seed: int = 0) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x.bfloat16().contiguous(memory_format=torch.channels_last)


def bn(channels: int) -> nn.BatchNorm2d:
    """With weights of both signs, and one of 0."""
    layer = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for vector in (layer.weight, layer.bias, layer.running_mean):
            vector.copy_(torch.randn(channels, generator=draw))
        layer.weight[channels // 2] = 0.0
    return layer


class End(nn.Module):
    """A branch's end as one module. It is plain until its norm and gate are exchanged."""

    def __init__(self, attention: nn.Module, channels: int, shortcut: bool = True) -> None:
        super().__init__()
        self.attention, self.norm, self.adds = attention, bn(channels), shortcut

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        if self.adds:
            return norm_gate_add_relu(self.attention, self.norm, x, x, shortcut)
        return norm_gate(self.attention, self.norm, x, x)

    def before_relu(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return norm_gate(self.attention, self.norm, x, x) + shortcut


class Normed(nn.Module):
    """BN, or norm_relu, as a module."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor], channels: int) -> None:
        super().__init__()
        self.function, self.norm = function, bn(channels)

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return self.function(self.norm, x) + 0 * shortcut

    def before_relu(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return self.norm(x)


def run(module: nn.Module, x: Tensor, shortcut: Tensor, dy: Tensor) -> dict[str, Tensor]:
    """Output, every gradient, and BN's buffers."""
    module = copy.deepcopy(module)
    x, shortcut = x.detach().requires_grad_(), shortcut.detach().requires_grad_()
    y = module(x, shortcut)
    y.backward(dy)
    assert x.grad is not None
    found = {"y": y.detach(), "x": x.grad}
    if shortcut.grad is not None:
        found["shortcut"] = shortcut.grad
    found |= {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return found | {name: value.clone() for name, value in module.named_buffers()}
