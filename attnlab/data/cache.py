"""A cache on disk for decoded and generated images, verified by a checksum."""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from attnlab.records.atomic import atomic_write


def cached(folder: str | Path | None, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """`make()`, stored as FOLDER/<name>.pt and read from there next time. folder: None = no cache.

    A damaged file, or one that this function did not write, is replaced.
    """
    if folder is None:
        return make()
    path = Path(folder).expanduser() / f"{name}.pt"
    try:
        kept = torch.load(path, weights_only=True)
        if kept.pop("checksum") == _checksum(kept):
            return kept
    except (OSError, RuntimeError, KeyError, EOFError, AttributeError, TypeError, ValueError, UnpicklingError):
        pass
    tensors = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, f"{os.getpid()}.part") as part:  # several processes may write it at once
            torch.save(tensors | {"checksum": _checksum(tensors)}, part)
    except (OSError, RuntimeError):  # without the cache if the disk is full or read-only
        pass
    return tensors


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        total.update(f"{name} {tuple(tensors[name].shape)}".encode())
        total.update(tensors[name].contiguous().numpy().data)
    return total.hexdigest()
