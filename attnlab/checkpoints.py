"""Checkpoints: last.ckpt, from which a run goes on, and best.ckpt, the weights that are tested.

Both are written whole (attnlab.whole), hold tensors and plain values alone, and are read with weights_only=True. A run
goes on bit for bit: order and augmentation are drawn from (seed, epoch), the other random numbers from (seed, step),
see Draws; all else is in last.ckpt, with how many batches of its epoch were done.
"""

import hashlib
import io
import pickle
import random
import re
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint

from attnlab.data.batches import mixed
from attnlab.errors import ConfigError
from attnlab.provenance import joined
from attnlab.source_code import Code, differences
from attnlab.whole import written_whole

SCORE = "val/top1_error"  # of a best.ckpt, beside its weights
NOT_TESTED = ("optimizer_states", "lr_schedulers", "callbacks")
TOGETHER = 20  # steps between two agreements of several ranks on the time


class WholeFiles(TorchCheckpointIO):
    """Lightning's way to write checkpoints, made atomic (attnlab.whole), each with the id of its run."""

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


class Last(Checkpoint):
    """last.ckpt: at the end of each epoch, and within one when the last is `minutes` old (None: never).

    batch_statistics: over what BN takes them (machine.batch_statistics); `mixed` where a run has gone on otherwise;
    data_hash: of the images; a run goes on with those it began with. Raises ConfigError where they are others.
    stretch: what this start runs under (attnlab.provenance); `stretches`: those before it as well;
    started_from: the weights that the run began with, of its first start.
    code: digests of what computes the run (attnlab.source_code); a run goes on with the code it began with, or, where
    accept_code, with what `edited` then names. Raises ConfigError otherwise.
    """

    def __init__(
        self, folder: Path, minutes: float | None, batch_statistics: str, data_hash: str | None, code: Code,
        stretch: Mapping[str, Any], started_from: Mapping[str, Any] | None = None, *, accept_code: bool = False,
    ) -> None:  # fmt: skip
        self.batch_statistics, self.data_hash = batch_statistics, data_hash
        self.stretches, self.started_from = [dict(stretch)], started_from
        self.code, self.accept_code, self.edited = code, accept_code, list[str]()
        self.path, self.minutes = folder / "last.ckpt", minutes
        self._saved = 0.0
        self._batches = 0  # of the epoch, that are in the checkpoint

    def state_dict(self) -> dict[str, Any]:
        return {
            "batches": self._batches, "batch_statistics": self.batch_statistics, "data_hash": self.data_hash,
            "code": self.code, "edited": self.edited, "stretches": self.stretches,
            "started_from": self.started_from,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if (before := state_dict.get("data_hash", self.data_hash)) != self.data_hash:
            raise ConfigError(
                f"{self.path.name}: was trained on other images (data_hash {before}) than dataset.root has now "
                f"({self.data_hash}); allowed are the same ones, or force=true, which begins anew"
            )
        files = differences(state_dict["code"], self.code) if "code" in state_dict else []
        if files and not self.accept_code:
            raise ConfigError(
                f"{self.path.name}: was trained by other code: {', '.join(files)} changed since; force=true trains "
                "anew, code=recorded goes on with the code of today"
            )
        self.edited = sorted({*state_dict.get("edited", ()), *files})
        self._batches = state_dict["batches"]
        self.started_from = state_dict.get("started_from", self.started_from)
        self.stretches = joined(state_dict.get("stretches", ()), self.stretches[0])
        if state_dict.get("batch_statistics", self.batch_statistics) != self.batch_statistics:
            self.batch_statistics = "mixed"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The loader begins at the batch and epoch that come next; Lightning asked it before it knew them."""
        self._saved = time.monotonic()
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        data.batches_done, self._batches = self._batches, 0
        if trainer.current_epoch or data.batches_done:
            iter(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        ended = trainer.is_last_batch or trainer.global_step == trainer.max_steps  # on_train_epoch_end saves
        able = hasattr(trainer.datamodule, "batches_done")  # type: ignore[attr-defined]
        if self.minutes is None or ended or not able or (trainer.world_size > 1 and trainer.global_step % TOGETHER):
            return
        due = time.monotonic() - self._saved >= 60 * self.minutes
        if trainer.strategy.broadcast(due):
            self._save(trainer, batches=batch_idx + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer, batches=0)

    def _save(self, trainer: pl.Trainer, batches: int) -> None:
        self._batches = batches
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved = time.monotonic()


class Best(Checkpoint):
    """best.ckpt: the weights of the epoch with the lowest validation error, which the file says itself.

    It is written after last.ckpt, which names its epoch and score: after a kill between the two it is made from
    last.ckpt, whose weights are the same.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "best.ckpt"
        self.score: float | None = None
        self.epoch: int | None = None
        self._due = False

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score, self.epoch = state_dict["score"], state_dict["epoch"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        there = read(self.path) if self.path.exists() else None
        if self.score is None:  # a new run, or the last.ckpt of an older attnlab
            self.score = None if there is None else there[SCORE]
        elif there is None or (
            (there["epoch"], there[SCORE]) != (self.epoch, self.score) and there["global_step"] != trainer.global_step
        ):
            last_is_best(self.path.parent, self.score)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        score = float(trainer.callback_metrics[SCORE])
        if trainer.state.fn == "fit" and self.is_better(score):
            self.score, self.epoch, self._due = score, trainer.current_epoch, True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._due:
            trainer.save_checkpoint(self.path, weights_only=True)
            self._due = False

    def is_better(self, score: float) -> bool:
        """Whether there is none as good."""
        return self.score is None or score < self.score


def last_is_best(folder: Path, score: float | None) -> None:
    """The weights of last.ckpt as best.ckpt, with their validation error, if any."""
    content = read(folder / "last.ckpt")
    save(
        {name: item for name, item in content.items() if name not in NOT_TESTED} | {SCORE: score}, folder / "best.ckpt"
    )


class Draws(Callback):
    """Each step's random numbers (dropout) from (seed, step, rank) alone: no state to keep, the same after a kill."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        number = mixed(self.seed, 4, trainer.global_step, trainer.global_rank)
        torch.manual_seed(number)
        np.random.seed(number % 2**32)
        random.seed(number)
