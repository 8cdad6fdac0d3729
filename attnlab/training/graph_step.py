"""One training step that a CUDA graph can replay: forward, loss, backward, and the optimizer's step."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.machine.graphs import Function, Graphs

WARM_UP = 3  # steps before the capture. They allocate the optimizer's state, and cuDNN and the compiler choose kernels.
OPTIMIZERS = ("torch.optim.SGD", "torch.optim.Adam", "torch.optim.AdamW")  # whose fused kernels a graph can hold


class GraphStep:
    """`step(inputs, make_batch)` -> (loss, number of wrong predictions), both on the device: one step of training.

    Batches of `batch_size` images are trained directly for WARM_UP steps, and by replaying a captured step from then
    on. Other batches are always trained directly. A graph needs its learning rate on the device; the optimizer's groups
    show it as a float to everybody else. `make_batch` must be the same function of its inputs in all steps.

    compiled: the net is compiled; other batches than those of the graph then run without the compiler, which would
    compile again for each of their shapes.  first_step: a context for the first step, in which a net is compiled.
    on_failure: called with the reason when the step cannot be captured; all steps then run directly.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        graphs: Graphs,
        *,
        batch_size: int,
        label_smoothing: float = 0.0,
        compiled: bool = False,
        first_step: AbstractContextManager[Any] | None = None,
        on_failure: Callable[[str], None],
    ) -> None:
        self.net, self.optimizer, self.graphs = net, optimizer, graphs
        self.batch_size, self.label_smoothing, self.compiled = batch_size, label_smoothing, compiled
        self.first_step, self.on_failure = first_step or nullcontext(), on_failure
        device = next(net.parameters()).device
        # Fused kernels read float32. Elsewhere float64 keeps the digits of a Python float.
        dtype = torch.float32 if graphs.fused else torch.float64
        groups = optimizer.param_groups
        self.rates = [torch.zeros((), dtype=dtype, device=device) for _ in groups]
        self._written: list[float | None] = [None] * len(groups)
        self.loss, self.wrong = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
        self._static: list[Tensor] | None = None
        self._warm, self._replay = 0, None  # type: int, Function | None
        if graphs.fused:
            for state in optimizer.state.values():  # of a checkpoint that a run without graphs has written
                if "step" in state:
                    state["step"] = torch.as_tensor(state["step"], dtype=torch.float32, device=device)

    def __call__(self, inputs: tuple[Tensor, ...], make_batch: Callable[..., Any]) -> tuple[Tensor, Tensor]:
        self._write_rates()
        if len(inputs[0]) != self.batch_size:
            with without_compiler(self.compiled):
                self._train(inputs, make_batch)
        elif self._warm < WARM_UP:
            with self.first_step if self._warm == 0 else nullcontext():
                self.graphs.warm_up(lambda: self._train(inputs, make_batch))
            self._warm += 1
        else:
            if self._replay is None or self._static is None:
                self._static = [tensor.clone() for tensor in inputs]
                self._replay = self._capture(self._static, make_batch)
            for static, tensor in zip(self._static, inputs, strict=True):
                static.copy_(tensor)
            self._replay()
        return self.loss.clone(), self.wrong.clone()

    def _capture(self, static: list[Tensor], make_batch: Callable[..., Any]) -> Function:
        def step() -> None:
            self._train(tuple(static), make_batch)

        try:
            return self.graphs.capture(step)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.on_failure(str(error).strip().split("\n")[0])
            return step

    def _write_rates(self) -> None:
        """Write the learning rates that have changed to the device."""
        for number, (rate, group) in enumerate(zip(self.rates, self.optimizer.param_groups, strict=True)):
            if group["lr"] != self._written[number]:
                rate.fill_(group["lr"])
                self._written[number] = group["lr"]

    def _train(self, inputs: tuple[Tensor, ...], make_batch: Callable[..., Any]) -> None:
        kind = self.loss.device.type
        enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        with torch.autocast(kind, enabled=False):
            images, labels = make_batch(*inputs)
            # A cached copy of a weight in bfloat16 would stay as it was at the capture.
            with torch.autocast(kind, dtype, enabled=enabled, cache_enabled=False):
                logits = self.net(images)
                loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
            self.optimizer.zero_grad()
            loss.backward()
            with self._rates_on_device():
                self.optimizer.step()
        self.loss.copy_(loss.detach())
        self.wrong.copy_((logits.detach().argmax(dim=1) != labels).sum())

    @contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        """Give the optimizer its learning rates as tensors, and fused kernels, which read them on the device."""
        groups = self.optimizer.param_groups
        switches = [name for name in ("fused", "capturable") if self.graphs.fused and name in groups[0]]
        before = [{name: group[name] for name in ["lr", *switches]} for group in groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group.update({"lr": rate} | dict.fromkeys(switches, True))
        try:
            yield
        finally:
            for group, values in zip(groups, before, strict=True):
                group.update(values)


def without_compiler(compiled: bool) -> AbstractContextManager[Any]:
    """A context in which a compiled net runs as it is written; no effect for a net that is not compiled."""
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
