"""CUDA graphs: capture a function's kernels once, then launch all of them by one call. All CUDA calls are here.

A graph replays the same kernels on the same memory. The function must therefore read its inputs from tensors that stay
alive, write its results into such tensors, and read no value on the host. The random numbers of a replay come from
torch's CUDA generator as it is then, so torch.manual_seed before a replay decides them.
"""

from collections.abc import Callable
from typing import Protocol

import torch

Function = Callable[[], None]


class Graphs(Protocol):
    """How a function is prepared, captured and replayed on one kind of device.

    fused: whether optimizers must use their fused kernels, which read the learning rate on the device.
    """

    fused: bool

    def warm_up(self, function: Function) -> None:
        """Run the function once; it allocates what later calls reuse."""

    def capture(self, function: Function) -> Function:
        """The replay of the function. Capturing does not run it. Raises RuntimeError where it cannot be captured."""


class CudaGraphs:
    """Capture and replay on the current CUDA device."""

    fused = True

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()

    def warm_up(self, function: Function) -> None:
        """Run the function on another stream than the default one, which capturing requires."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            function()
        current.wait_stream(self._stream)

    def capture(self, function: Function) -> Function:
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # thread_local: threads that pin memory for a loader may go on meanwhile
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            function()
        return graph.replay


class DirectCalls:
    """Calls the function in place of a replay: on a CPU, and in tests and comparisons.

    fused: see Graphs. Without it, a CPU computes the same bits as the optimizer that Lightning calls.
    """

    def __init__(self, fused: bool = False) -> None:
        self.fused = fused

    def warm_up(self, function: Function) -> None:
        function()

    def capture(self, function: Function) -> Function:
        return function


def graphs_for(accelerator: str) -> Graphs:
    """CudaGraphs for `gpu`, DirectCalls for every other kind of device."""
    return CudaGraphs() if accelerator == "gpu" else DirectCalls()
