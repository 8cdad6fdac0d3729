"""The ways in which `bench latency` runs a net in inference: eager, compiled, as a CUDA graph, by ONNX Runtime."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.benchmarks.options import Setting

Call = Callable[[], object]

#: packages of the extra attnlab[onnx]
ONNX_PACKAGES = ("onnxruntime", "onnxscript", "onnx")


def eager(net: nn.Module, x: Tensor, here: Setting) -> Call:
    """The net, called."""

    def run() -> Tensor:
        with torch.inference_mode(), here.autocast():
            return net(x)

    return run


def compiled(net: nn.Module, x: Tensor, here: Setting) -> Call:
    """The net by torch.compile, for this one shape. Compiled at the first call."""
    return eager(torch.compile(net, dynamic=False), x, here)  # type: ignore[arg-type]


def graph(net: nn.Module, x: Tensor, here: Setting) -> Call:
    """The net's kernels, recorded once as a CUDA graph and replayed. Needs a GPU."""
    run = eager(net, x, here)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # cuDNN and the allocator must be warm before the recording
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        run()
    return recorded.replay


def onnx(net: nn.Module, x: Tensor, here: Setting) -> Call:
    """The net exported by torch.onnx and run by ONNX Runtime on the CPU: in float32 and NCHW, with torch's number of
    threads."""
    import onnxruntime

    x = x.contiguous()
    with _silence():
        program = torch.onnx.export(net.float(), (x,), dynamo=True, verbose=False)
    assert program is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, feed)


#: engine -> (the function that prepares it, the kinds of device that have it)
ENGINES: dict[str, tuple[Callable[[nn.Module, Tensor, Setting], Call], tuple[str, ...]]] = {
    "eager": (eager, ("cpu", "cuda")), "compiled": (compiled, ("cpu", "cuda")), "graph": (graph, ("cuda",)),
    "onnx": (onnx, ("cpu",)),
}  # fmt: skip


def missing_packages(engine: str) -> list[str]:
    """The packages that an engine needs and that are not installed."""
    return [name for name in ONNX_PACKAGES if find_spec(name) is None] if engine == "onnx" else []


@contextmanager
def many_compiled_nets(count: int) -> Iterator[None]:
    """Let torch.compile hold `count` nets of one class. By default it runs the ninth one uncompiled, without an error;
    here more than `count` are an error."""
    import torch.compiler.config as config

    patch: Any = config.patch  # type: ignore[attr-defined]
    with patch(recompile_limit=4 * count, accumulated_recompile_limit=64 * count, fail_on_recompile_limit_hit=True):
        yield


@contextmanager
def _silence() -> Iterator[None]:
    """Silence the exporter, which prints its progress and warns about the packages that it uses."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
