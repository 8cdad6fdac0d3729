"""Checkpoint files: written atomically, read without running code, and whether a run can resume from them."""

import hashlib
import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from attnlab.errors import ConfigError
from attnlab.records.atomic import atomic_write

#: the key of a best.ckpt, beside its weights, for their validation error
SCORE = "val/top1_error"
#: what best.ckpt leaves out: only training needs it
TRAINING_STATE = ("optimizer_states", "lr_schedulers", "callbacks", "current_model_state", "averaging_state")


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint. A full disk raises OSError, and the previous checkpoint stays."""
    content = io.BytesIO()  # torch.save to a path does not report why a write fails
    torch.save(checkpoint, content)
    with atomic_write(path) as part:
        part.write_bytes(content.getbuffer())


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU.

    Raises FileNotFoundError; ValueError, with the reason, for a damaged file or one that is no checkpoint; ConfigError
    for a file whose pickle would call code, which is never executed.
    """
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


def can_resume(folder: Path, validates: bool) -> tuple[bool, str]:
    """(True, "") if the run can resume from last.ckpt; (False, reason) if not; (False, "") if there is no checkpoint.

    Changes no file. last.ckpt names the epoch and score of the best.ckpt that belongs to it, and a run that validates
    needs both. Raises ConfigError for a checkpoint whose pickle would call code, and for that of another run.
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
            raise ValueError(f"holds no {SCORE}, as those of an older attnlab")
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        return False, f"best.ckpt {error}"
    if expected is None:  # of an older attnlab, or before the first validation
        lost = content["epoch"] and found is None
        return not lost, "last.ckpt has lost the best.ckpt that belongs to it" if lost else ""
    if expected["epoch"] == content["epoch"]:
        return True, ""  # the weights of last.ckpt are the best; the callback Best rewrites best.ckpt from them
    if found is None:
        return False, "last.ckpt has lost the best.ckpt that belongs to it"
    ended = found["global_step"] == content["global_step"]  # recipe.steps: the last weights were best
    if ended or (found["epoch"], found[SCORE]) == (expected["epoch"], expected["score"]):
        return True, ""
    return False, "best.ckpt does not belong to last.ckpt: it has another epoch or score"


def _of_run(path: Path, run: str) -> dict[str, Any]:
    """A checkpoint's content. Raises ConfigError if it is the checkpoint of another run."""
    content = read(path)
    if (owner := content.get("run", run)) != run:
        raise ConfigError(f"{path}: is a checkpoint of run {owner}; remove it, or force=true moves the folder aside")
    return content


def _best_of(content: dict[str, Any]) -> dict[str, Any] | None:
    """Epoch and score of the best.ckpt that belongs to a last.ckpt; None before a validation, and for old files."""
    state = content.get("callbacks", {}).get("Best") or {}
    return state if state.get("score") is not None else None


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; a record holds that of its weights."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_last_to_best(folder: Path, score: float | None) -> None:
    """Write the weights of last.ckpt as best.ckpt, with their validation error, if any."""
    content = read(folder / "last.ckpt")
    weights = {name: item for name, item in content.items() if name not in TRAINING_STATE}
    save(weights | {SCORE: score}, folder / "best.ckpt")
