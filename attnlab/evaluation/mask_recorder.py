"""Record the masks of a network during a forward pass: `with record_masks(net) as masks: net(images)`.

A gate has a submodule `mask` that turns scores z into masks m (also a level of Learn To Pay Attention, PAN's gate and
GC's pooling). A forward hook on this submodule keeps both z and m under the gate's name.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]


@dataclass(frozen=True)
class RecordedMask:
    """One gate on one batch: scores z and masks m = mask(z), both (B, C or 1, H or 1, W or 1), float32."""

    z: Tensor
    m: Tensor

    @property
    def kind(self) -> str:
        """The axes over which m varies: channel, spatial, both; rows (B, C, H, 1) or columns (B, C, 1, W)."""
        _, channels, height, width = self.m.shape
        if height == width == 1:
            return "channel"
        if width == 1 or height == 1:
            return "rows" if width == 1 else "columns"
        return "spatial" if channels == 1 else "both"


def mask_modules(net: nn.Module) -> dict[str, nn.Module]:
    """{gate's name: its submodule `mask`}, in the order of the network."""
    found = {name: getattr(module, "mask", None) for name, module in net.named_modules()}
    return {name: mask for name, mask in found.items() if isinstance(mask, nn.Module)}


@contextmanager
def record_masks(net: nn.Module) -> Iterator[dict[str, RecordedMask]]:
    """{gate's name: its masks in the last forward pass}, filled while the context is open; detached from the graph.

    The hooks do not change the network's output, and they are removed when the context ends, also after an error. A
    compiled network runs eagerly meanwhile, since its compiled graph calls no hooks; the graph is kept.
    """
    masks: dict[str, RecordedMask] = {}

    def keep(name: str) -> Hook:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], m: Tensor) -> None:
            masks[name] = RecordedMask(inputs[0].detach().float(), m.detach().float())

        return hook

    with forward_hooks({mask: keep(name) for name, mask in mask_modules(net).items()}):
        yield masks


@contextmanager
def replace_masks(net: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """While the context is open, each named gate uses the given mask (1, C, H, W) for every image."""
    modules = mask_modules(net)

    def give(constant: Tensor) -> Hook:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], m: Tensor) -> Tensor:
            return constant.to(m).expand_as(m)

        return hook

    with forward_hooks({modules[name]: give(constant) for name, constant in masks.items()}):
        yield


@contextmanager
def forward_hooks(hooks: Mapping[nn.Module, Hook]) -> Iterator[None]:
    """Register forward hooks while the context is open; compiled modules run eagerly meanwhile."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for handle in handles:
            handle.remove()
