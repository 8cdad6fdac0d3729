"""One gate, forward and backward: timm's module of the same name, and our own plain form, over ours accelerated.

Features x and the gradient dy of the output have the dtype and memory format that they have within a net: bf16 and
channels_last under machine=auto where the hardware multiplies bfloat16. The backward pass gives the gradients of x and
of every parameter.
"""

import copy
from collections.abc import Callable
from statistics import geometric_mean

import torch
from torch import nn

from attnlab.benchmarks.options import BenchOptions, Setting, describe, one_of, setting
from attnlab.benchmarks.report import Report, Row
from attnlab.benchmarks.timing import interleaved
from attnlab.benchmarks.timm_pairs import TWINS, pair
from attnlab.errors import ConfigError
from attnlab.machine.acceleration import accelerate

#: (B, C, H, W): the three stages of ResNet-20 at batch 128, the first and the third of ResNet-50 at batch 32
SHAPES = ((128, 16, 32, 32), (128, 32, 16, 16), (128, 64, 8, 8), (32, 256, 56, 56), (32, 1024, 14, 14))


def shapes(options: BenchOptions) -> list[tuple[int, ...]]:
    """The shapes of `shapes=BxCxHxW,BxCxHxW`, SHAPES by default. Raises ConfigError."""
    if (text := options.own.get("shapes")) is None:
        return list(SHAPES)
    found = [tuple(int(n) if n.isdecimal() else 0 for n in part.split("x")) for part in text.split(",")]
    if any(len(shape) != 4 or min(shape) < 1 or shape[2] != shape[3] for shape in found):
        raise ConfigError(
            f"wrong value shapes={text}; allowed are BxCxHxW of square maps, with commas between, as 128x16x32x32"
        )
    return found


def features(shape: tuple[int, ...], here: Setting) -> torch.Tensor:
    """Normally distributed features (B, C, H, W), in the dtype and layout of a net's maps under this setting."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return x.to(here.device, here.dtype).contiguous(memory_format=here.memory_format)


def passes(module: nn.Module, x: torch.Tensor, here: Setting) -> Callable[[], object]:
    """A function that runs `module` forward on x and backward from a fixed dy, and returns its gradients."""
    module = module.to(here.device).to(memory_format=here.memory_format).train()  # type: ignore[call-overload]
    x = x.detach().requires_grad_()
    wanted = [x, *(p for p in module.parameters() if p.requires_grad)]
    with here.autocast():
        dy = torch.ones_like(module(x)) / x.numel()

    def run() -> object:
        with here.autocast():
            y = module(x)
        return torch.autograd.grad(y, wanted, dy)

    return run


def accelerated(module: nn.Module, here: Setting) -> nn.Module:
    """A copy of the module, with gates and norms in their fused forms where these apply under the setting."""
    module = copy.deepcopy(module)
    accelerate(module, device=here.device.type, precision=here.precision, channels_last=here.channels_last)
    return module


def gates(options: BenchOptions) -> Report:
    """timm's gate over ours accelerated, and our plain one over it, for every attention of TWINS and every shape."""
    here = setting(options.values())
    rows: list[Row] = []
    speed: dict[str, dict[str, list[float]]] = {"timm": {}, "plain": {}}
    for name in one_of(options.attentions, tuple(TWINS)):
        for shape in shapes(options):
            ours, timms = pair(name, shape[1], shape[2])
            x = features(shape, here)
            sides = {
                "timm": passes(timms, x, here),
                "plain": passes(ours, x, here),
                "ours": passes(accelerated(ours, here), x, here),
            }
            seconds = interleaved(sides, options.repeats)
            facts = {"as": TWINS[name][3]}
            for other in ("timm", "plain"):
                row = Row(f"{name} {shape}", seconds, other, "ours", target=">= 1x", facts=facts)
                speed[other].setdefault(name, []).append(row.ratio().median)
                rows.append(row)
    summary: dict[str, str | float] = {}
    for other, found in speed.items():
        every = [ratio for ratios in found.values() for ratio in ratios]
        means = {name: geometric_mean(ratios) for name, ratios in found.items()}
        summary[f"{other} / ours, geometric mean of each"] = ", ".join(f"{n} {mean:.2f}x" for n, mean in means.items())
        summary[f"{other} / ours, geometric mean of all"] = f"{geometric_mean(every):.2f}x"
    slower = [f"{row.case} {row.ratio().median:.2f}x" for row in rows if row.of == "timm" and row.ratio().median < 1]
    summary["slower than timm"] = ", ".join(slower) or "never"
    rows.sort(key=lambda row: row.of != "timm")
    title = "one gate, forward and backward: timm's module, and our plain form, over ours"
    return Report("gates", title, rows, describe(here), summary)
