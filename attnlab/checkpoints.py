"""Checkpoints: last.ckpt, from which a run goes on, and best.ckpt, the weights that are tested.

Both are written whole (attnlab.whole), hold tensors and plain values alone, and are read with weights_only=True. A run
goes on bit for bit: order and augmentation are drawn from (seed, epoch), the other random numbers from (seed, step),
see Draws; all else is in last.ckpt, with how many batches of its epoch were done.
"""

import io
import pickle
import random
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint

from attnlab.data.batches import mixed
from attnlab.errors import ConfigError
from attnlab.ranks import is_first
from attnlab.source_code import Code, differences
from attnlab.whole import written_whole

SCORE = "val/top1_error"  # of a best.ckpt, beside its weights
NOT_TESTED = ("optimizer_states", "lr_schedulers", "callbacks")
TOGETHER = 20  # steps between two agreements of several ranks on the time


class WholeFiles(TorchCheckpointIO):
    """Lightning's way to write checkpoints, made atomic: see attnlab.whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save(checkpoint, Path(path))


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

    What is damaged is kept beside, as NAME.damaged. best.ckpt belongs to last.ckpt: without one the other is nothing.
    """
    last, best, reason = folder / "last.ckpt", folder / "best.ckpt", ""
    needed = [last] if last.exists() else []
    if needed and best.exists() and validates:
        needed.append(best)
    for path in needed:
        try:
            content = read(path)
            if path == best and SCORE not in content:
                raise ValueError(f"does not say its {SCORE}, as those of an older attnlab")
            if path == last and validates and content["epoch"] and not best.exists():
                raise ValueError("has lost the best.ckpt that belongs to it")
        except ConfigError:
            raise
        except ValueError as error:
            reason = f"{path.name} {error}; it is kept as {path.name}.damaged, and the run begins anew"
            if is_first():
                path.replace(path.with_name(f"{path.name}.damaged"))
    if needed and not reason:
        return True, ""
    if is_first():
        for path in (last, best):
            path.unlink(missing_ok=True)
    return False, reason


class Last(Checkpoint):
    """last.ckpt: at the end of each epoch, and within one when the last is `minutes` old (None: never).

    batch_statistics: over what BN takes them (machine.batch_statistics); `mixed` where a run has gone on otherwise;
    data_hash: of the images; a run goes on with those it began with. Raises ConfigError where they are others.
    code: digests of what computes the run (attnlab.source_code); a run goes on with the code it began with, or, where
    accept_code, with what `edited` then names. Raises ConfigError otherwise.
    """

    def __init__(
        self, folder: Path, minutes: float | None, batch_statistics: str, data_hash: str | None, code: Code,
        *, accept_code: bool = False,
    ) -> None:  # fmt: skip
        self.batch_statistics, self.data_hash = batch_statistics, data_hash
        self.code, self.accept_code, self.edited = code, accept_code, list[str]()
        self.path, self.minutes = folder / "last.ckpt", minutes
        self._saved = 0.0
        self._batches = 0  # of the epoch, that are in the checkpoint

    def state_dict(self) -> dict[str, Any]:
        return {
            "batches": self._batches, "batch_statistics": self.batch_statistics, "data_hash": self.data_hash,
            "code": self.code, "edited": self.edited,
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
    """best.ckpt: the weights of the epoch with the lowest validation error, which the file says itself."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "best.ckpt"
        self.score: float | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Not from last.ckpt: a kill may have come between the two files.
        self.score = read(self.path)[SCORE] if self.path.exists() else None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        score = float(trainer.callback_metrics[SCORE])
        if trainer.state.fn == "fit" and self.is_better(score):
            self.score = score
            trainer.save_checkpoint(self.path, weights_only=True)

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
