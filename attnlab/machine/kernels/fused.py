"""What all fused forms share: when they run, and when a module must be called as it is."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._C._functorch import maybe_current_level
from torch.nn.modules.module import _has_any_global_hook


class Fused(nn.Module):
    """Base of the fused forms; `accelerate` puts a form in front of the class that it replaces.

    replaces: digest of the forward that the form was written for (accelerate.digest). If that forward is edited, the
    module stays plain until the form is written anew. None: the forward is PyTorch's.
    """

    replaces: str | None = None
    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """What the class in whose front the form stands has."""

    @classmethod
    def fits(cls, module: nn.Module) -> bool:
        """Whether this module, as it was built, has a fused form."""
        return True

    def forward(self, x: Tensor) -> Any:
        return self.fused(x) if trains_eagerly(self, x) else self.plain(x)

    def plain(self, *args: Any) -> Any:
        """The forward of the class that this form replaces."""
        return super().forward(*args)

    def fused(self, x: Tensor) -> Any:
        """The same in fewer passes over the maps."""
        raise NotImplementedError


def trains_eagerly(module: nn.Module, x: Any) -> bool:
    """Whether `module` trains on x on a CPU, outside torch.compile, torch.export, torch.jit.trace, torch.fx and the
    transforms of torch.func, none of which can look into a function of our own."""
    return (
        module.training
        and not torch.compiler.is_compiling()
        and type(x) is Tensor
        and x.device.type == "cpu"
        and not torch.jit.is_tracing()
        and maybe_current_level() is None
    )


def is_fast(x: Tensor) -> bool:
    """Whether the C kernels take the map x: bfloat16, channels_last, not empty."""
    return x.dtype == torch.bfloat16 and x.numel() > 0 and x.is_contiguous(memory_format=torch.channels_last)


def dense(x: Tensor) -> Tensor:
    """x in channels_last. Gradients come in any layout, and kept tensors may come back in another one."""
    return x.contiguous(memory_format=torch.channels_last)


def watched(*modules: nn.Module) -> bool:
    """Whether a module must be called itself: somebody hooked it, or gave it a forward of its own."""
    return _has_any_global_hook() or any(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
        for module in modules
    )


def once() -> None:
    """Raise RuntimeError for a second derivative, which backward passes written by hand do not have."""
    if torch.is_grad_enabled():
        raise RuntimeError("a fused gate or norm has no second derivative: use the net in eval mode or not accelerated")
