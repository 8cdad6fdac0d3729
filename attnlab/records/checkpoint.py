"""Checkpoint files: written whole, read as tensors and plain values alone, and whether a run can go on from them."""

import hashlib
import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from attnlab.errors import ConfigError
from attnlab.records.atomic import written_whole

SCORE = "val/top1_error"  # of a best.ckpt, beside its weights
NOT_TESTED = ("optimizer_states", "lr_schedulers", "callbacks")


class WholeFiles(TorchCheckpointIO):
    """Lightning's way to write checkpoints, made atomic (attnlab.records.atomic), each with the id of its run."""

    def __init__(self, run: str) -> None:
        self.run = run

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save(checkpoint | {"run": self.run}, Path(path))


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; a full disk raises OSError, and the checkpoint before stays."""
    content = io.BytesIO()  # torch, writing to a file itself, gives no reason why it cannot
    torch.save(checkpoint, content)
    with written_whole(path) as part:
        part.write_bytes(content.getbuffer())


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU. Raises FileNotFoundError; ValueError, with the reason, for a file that is not
    whole or is no checkpoint; ConfigError for one that asks for code to be run, which is never done."""
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"is damaged in {damaged}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"(?:GLOBAL|global:?|class) `?'?([\w.]+\.[\w.]+)", str(error))
        if named:
            raise ConfigError(f"{path}: is not read: it asks to call {named[1]}, which no checkpoint does") from None
        raise ValueError("is no checkpoint") from None
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        words = (str(error).splitlines() or [""])[0]
        raise ValueError(f"cannot be read ({words or type(error).__name__})") from None
    if not isinstance(content, dict) or not {"state_dict", "loops", "epoch", "global_step"} <= content.keys():
        raise ValueError("is no checkpoint of a run")
    return content


def to_go_on(folder: Path, validates: bool) -> tuple[bool, str]:
    """(True, "") when the run can go on from last.ckpt; (False, why not) when it begins anew, "" where nothing was.

    Nothing is changed. best.ckpt belongs to last.ckpt, which names its epoch and score: none is of use alone.
    Raises ConfigError for a checkpoint that asks for code to be run, and for that of another run.
    """
    last, best = folder / "last.ckpt", folder / "best.ckpt"
    if not last.exists():
        return False, "best.ckpt is without the last.ckpt that belongs to it" if best.exists() else ""
    try:
        content = _of_run(last, folder.name)
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        return False, f"last.ckpt {error}"
    if not validates:
        return True, ""
    expected = _best_of(content)
    try:
        found = _of_run(best, folder.name) if best.exists() else None
        if found is not None and SCORE not in found:
            raise ValueError(f"does not say its {SCORE}, as those of an older attnlab")
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        return False, f"best.ckpt {error}"
    if expected is None:  # of an older attnlab, or before the first validation
        lost = content["epoch"] and found is None
        return not lost, "last.ckpt has lost the best.ckpt that belongs to it" if lost else ""
    if expected["epoch"] == content["epoch"]:
        return True, ""  # the weights of last.ckpt are the best: Best writes them again where best.ckpt has others
    if found is None:
        return False, "last.ckpt has lost the best.ckpt that belongs to it"
    ended = found["global_step"] == content["global_step"]  # recipe.steps ended, and its last weights were the best
    if ended or (found["epoch"], found[SCORE]) == (expected["epoch"], expected["score"]):
        return True, ""
    return False, "best.ckpt does not belong to last.ckpt: it has another epoch or score"


def _of_run(path: Path, run: str) -> dict[str, Any]:
    """A checkpoint's content. Raises ConfigError when it says that it is another run's."""
    content = read(path)
    if (owner := content.get("run", run)) != run:
        raise ConfigError(f"{path}: is a checkpoint of run {owner}; take it away, or force=true puts all aside")
    return content


def _best_of(content: dict[str, Any]) -> dict[str, Any] | None:
    """Epoch and score of the best.ckpt that belongs to a last.ckpt; None before a validation, or of old files."""
    state = content.get("callbacks", {}).get("Best") or {}
    return state if state.get("score") is not None else None


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal: which weights a record is of."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def last_is_best(folder: Path, score: float | None) -> None:
    """The weights of last.ckpt as best.ckpt, with their validation error, if any."""
    content = read(folder / "last.ckpt")
    save(
        {name: item for name, item in content.items() if name not in NOT_TESTED} | {SCORE: score}, folder / "best.ckpt"
    )
