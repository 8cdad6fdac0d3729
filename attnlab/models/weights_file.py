"""Load trained weights from a file (model.checkpoint) into a network. No code of the file is executed."""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from attnlab.errors import ConfigError

#: keys under which others' checkpoints hold the weights
INSIDE = ("state_dict", "model", "state_dict_ema")


def load_weights(net: nn.Module, path: str, digest: str | None = None) -> None:
    """Load the weights of a .safetensors file, or of one that torch.save wrote, into a network.

    The file must have every tensor of the network; what it has besides, e.g. a classifier, is ignored.
    digest: that of the file when the config was composed (configuration.weights_digest).
    Raises ConfigError for a file that is missing, damaged or changed, that would execute code, or that does not fit.
    """
    key = f"model.checkpoint={path}"
    found = _read(Path(path).expanduser(), key, digest)
    state = net.state_dict()
    for name, tensor in state.items():
        if name not in found:
            if name.endswith("num_batches_tracked"):  # old files lack it
                found[name] = tensor
                continue
            raise ConfigError(f"wrong file {key}; it has no {name}, which the model has")
        if found[name].shape != tensor.shape:
            shapes = f"{name} is {tuple(found[name].shape)} there, {tuple(tensor.shape)} in the model"
            raise ConfigError(f"wrong file {key}; {shapes}")
    net.load_state_dict({name: found[name] for name in state})


def _read(path: Path, key: str, digest: str | None) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            today = hashlib.file_digest(file, "sha256").hexdigest()
        if digest is not None and not today.startswith(digest):
            raise ConfigError(f"changed file {key}; its digest is {today[: len(digest)]}, the config has {digest}")
        content: Any = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except ConfigError:
        raise
    except pickle.UnpicklingError as error:
        raise ConfigError(f"unsafe file {key}; loading it would execute code; allowed is a file of tensors") from error
    except (OSError, RuntimeError, EOFError, SafetensorError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"cannot read {key}; {reason}") from error
    content = next((content[name] for name in INSIDE if isinstance(content, Mapping) and name in content), content)
    if not isinstance(content, Mapping) or not all(isinstance(item, Tensor) for item in content.values()):
        raise ConfigError(f"wrong file {key}; allowed is a state dict, {{name: tensor}}")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)
