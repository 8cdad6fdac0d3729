"""Write a finished run's network for use without attnlab: ONNX, or torch.export's own format.

The file is read back and compared with the network before it is put in its place.
"""

import io
import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.models.network import load
from attnlab.records.atomic import atomic_write
from attnlab.records.record import find_run, read_config

TOLERANCE = 1e-4  # largest difference of a logit
BATCHES = (2, 3)  # images in the example; in the check too
OPSET = 18
#: format -> name of the file in the run's folder
FILES = {"onnx": "net.onnx", "torch_export": "net.pt2"}


def export_run(run: str, output_dir: str | Path, kind: str) -> tuple[Path, float]:
    """Write the network of a finished run into its folder; return the file and the largest difference of a logit.

    The file maps normalised float32 images (B, 3, H, W) to logits (B, classes), any B, H and W those of the run, as
    attnlab.load's network does.  kind: one of FILES.
    Raises ConfigError for a run that is not found, packages that are missing, a network that cannot be exported, and a
    file that does not give the network's logits within TOLERANCE. Nothing is written then.
    """
    folder = find_run(run, output_dir)
    size = int(read_config(folder)["dataset"]["image_size"])
    net = load(folder.name, folder.parent)
    content, call = (_onnx if kind == "onnx" else _torch_export)(net, _images(BATCHES[0], size))
    difference = max(_difference(net, call, _images(batch, size)) for batch in BATCHES)
    if not difference <= TOLERANCE:  # also for NaN
        raise ConfigError(
            f"wrong export run={run} format={kind}; its logits differ by {difference:.1e}; allowed is {TOLERANCE}"
        )
    path = folder / FILES[kind]
    with atomic_write(path) as part:
        part.write_bytes(content)
    return path, difference


def _images(batch: int, size: int) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(batch))


def _difference(net: nn.Module, call: Callable[[Tensor], Tensor], images: Tensor) -> float:
    with torch.no_grad():
        return float((call(images) - net(images)).abs().max())


def _torch_export(net: nn.Module, images: Tensor) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    buffer = io.BytesIO()
    torch.export.save(_traced(net, images), buffer)
    module = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    return buffer.getvalue(), module


def _onnx(net: nn.Module, images: Tensor) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    try:
        import onnx  # noqa: F401  # torch.onnx needs it and onnxscript
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"missing package {error.name}, which format=onnx needs; install attnlab[onnx]") from error
    program = _traced(net, images)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            made: Any = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, input_names=["images"], output_names=["logits"]
            )
    except Exception as error:  # of the converter, for an operation that it lacks
        raise ConfigError(_cannot("onnx", error)) from error
    content = made.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return content, lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def _traced(net: nn.Module, images: Tensor) -> Any:
    """torch.export's program of the network, for any number of images."""
    try:
        with torch.no_grad():
            return torch.export.export(net, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    except Exception as error:  # of the tracer
        raise ConfigError(_cannot("torch_export", error)) from error


def _cannot(kind: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [""])[0]
    return f"cannot export format={kind}; {type(error).__name__}: {reason}"
