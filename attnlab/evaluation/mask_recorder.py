"""The masks of a network, seen without touching it: `with record(net) as seen: net(images)`.

Every module that has a `mask` (a Gate, a level of Learn To Pay Attention, PAN's gate, GC's pooling) turns scores z into
masks m there; both are kept under the module's name.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]


@dataclass(frozen=True)
class Seen:
    """What one mask did to one batch: scores z and masks m = mask(z), both (B, C or 1, H or 1, W or 1), float32."""

    z: Tensor
    m: Tensor

    @property
    def kind(self) -> str:
        """What m varies over: channel, spatial, both; rows or columns: (B, C, H, 1), (B, C, 1, W)."""
        _, channels, height, width = self.m.shape
        if height == width == 1:
            return "channel"
        if width == 1 or height == 1:
            return "rows" if width == 1 else "columns"
        return "spatial" if channels == 1 else "both"


def gates(net: nn.Module) -> dict[str, nn.Module]:
    """{name: the module that turns its scores into masks}, in the order of the network."""
    found = {name: getattr(module, "mask", None) for name, module in net.named_modules()}
    return {name: mask for name, mask in found.items() if isinstance(mask, nn.Module)}


@contextmanager
def record(net: nn.Module) -> Iterator[dict[str, Seen]]:
    """{gate's name: what it did in the last forward pass}, filled while the context is open.

    Nothing of the network changes: hooks that return nothing, removed at the end however it ends. A compiled network
    runs uncompiled meanwhile, since its graph knows no hooks; its graph stays. What is kept has no gradient.
    """
    seen: dict[str, Seen] = {}

    def keep(name: str) -> Hook:
        def hook(_: nn.Module, given: tuple[Tensor, ...], m: Tensor) -> None:
            seen[name] = Seen(given[0].detach().float(), m.detach().float())

        return hook

    with hooked({mask: keep(name) for name, mask in gates(net).items()}):
        yield seen


@contextmanager
def replaced(net: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """While the context is open, the named gates give these masks, (1, C, H, W), whatever they see."""
    known = gates(net)

    def give(constant: Tensor) -> Hook:
        def hook(_: nn.Module, given: tuple[Tensor, ...], m: Tensor) -> Tensor:
            return constant.to(m).expand_as(m)

        return hook

    with hooked({known[name]: give(constant) for name, constant in masks.items()}):
        yield


@contextmanager
def hooked(hooks: Mapping[nn.Module, Hook]) -> Iterator[None]:
    """Forward hooks for as long as the context is open, in which compiled modules run uncompiled."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for handle in handles:
            handle.remove()
