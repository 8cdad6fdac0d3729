"""The callbacks that write checkpoints: last.ckpt, from which a run resumes, and best.ckpt, whose weights are tested.

A resumed run gives bit-equal results. Order and augmentation are drawn from (seed, epoch), other random numbers from
(seed, step, rank), see Draws. last.ckpt holds everything else, with the number of batches done in its epoch.
"""

import random
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint

from attnlab.data.batches import combined
from attnlab.errors import ConfigError
from attnlab.records.checkpoint import SCORE, copy_last_to_best, read
from attnlab.records.provenance import append_stretch
from attnlab.records.source_code import Code, differences

AGREEMENT_STEPS = 20  # several ranks agree only every so many steps on whether a checkpoint is due


class Last(Checkpoint):
    """Writes last.ckpt at the end of each epoch, and within an epoch when it is `minutes` old (None: never).

    batch_statistics: of hardware.batch_statistics; `mixed` after a run was resumed with another value.
    data_hash: of the images.  code: digests of the code that computes the run (attnlab.records.source_code).
    accept_code: resume although the code has changed; `edited` then lists the changed files.
    stretch: software and hardware of this start (attnlab.records.provenance); `stretches`: of all starts so far.
    started_from: the parent run's id and weights, from the run's first start.
    Raises ConfigError when a run is resumed with other images, or with other code without accept_code.
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
        self._batches = 0  # of the running epoch that the checkpoint includes

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
                f"({self.data_hash}); allowed are the same images, or force=true, which begins anew"
            )
        files = differences(state_dict["code"], self.code) if "code" in state_dict else []
        if files and not self.accept_code:
            raise ConfigError(
                f"{self.path.parent.name}/{self.path.name}: was trained by other code: {', '.join(files)} changed "
                "since; force=true trains anew, code=recorded goes on with the code of today"
            )
        self.edited = sorted({*state_dict.get("edited", ()), *files})
        self._batches = state_dict["batches"]
        self.started_from = state_dict.get("started_from", self.started_from)
        self.stretches = append_stretch(
            state_dict.get("stretches", [{}]), self.stretches[0]
        )  # an older attnlab wrote none
        if state_dict.get("batch_statistics", self.batch_statistics) != self.batch_statistics:
            self.batch_statistics = "mixed"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restart the loader at the next batch and epoch, which Lightning did not know when it made the iterator."""
        self._saved = time.monotonic()
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        data.batches_done, self._batches = self._batches, 0
        if trainer.current_epoch or data.batches_done:
            iter(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        ended = trainer.is_last_batch or trainer.global_step == trainer.max_steps  # on_train_epoch_end saves
        can_resume = hasattr(trainer.datamodule, "batches_done")  # type: ignore[attr-defined]
        skipped = trainer.world_size > 1 and trainer.global_step % AGREEMENT_STEPS
        if self.minutes is None or ended or skipped or not can_resume:
            return
        due = time.monotonic() - self._saved >= 60 * self.minutes
        if trainer.strategy.broadcast(due):
            self._save(trainer, batches=trainer.fit_loop.batch_idx + 1)  # a batch may be a chunk of several steps

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer, batches=0)

    def _save(self, trainer: pl.Trainer, batches: int) -> None:
        self._batches = batches
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved = time.monotonic()


class Best(Checkpoint):
    """Writes best.ckpt: the weights of the epoch with the lowest validation error, with that error.

    last.ckpt is written first and names the epoch and score of best.ckpt. After a kill between the two, best.ckpt is
    made from last.ckpt, which has the same weights.
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
        self._restore_best(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After a kill in the last epoch no training starts, so Lightning does not call on_train_start."""
        self._restore_best(trainer)

    def _restore_best(self, trainer: pl.Trainer) -> None:
        """Write the best.ckpt that last.ckpt names when a kill came before it was written."""
        if not trainer.is_global_zero:
            return
        saved = read(self.path) if self.path.exists() else None
        if self.score is None:  # a new run, or the last.ckpt of an older attnlab
            self.score, self.epoch = (None, None) if saved is None else (saved[SCORE], saved["epoch"])
        elif saved is None or (
            (saved["epoch"], saved[SCORE]) != (self.epoch, self.score) and saved["global_step"] != trainer.global_step
        ):
            copy_last_to_best(self.path.parent, self.score)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        score = float(trainer.callback_metrics[SCORE])
        if trainer.state.fn == "fit" and self.is_better(score):
            self.score, self.epoch, self._due = score, trainer.current_epoch, True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._due:
            trainer.save_checkpoint(self.path, weights_only=True)
            self._due = False

    def is_better(self, score: float) -> bool:
        """Whether the score, a validation error, is lower than all before."""
        return self.score is None or score < self.score


class Draws(Callback):
    """Seeds each step's random numbers (dropout) by (seed, step, rank), so that a resumed run draws the same."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        seed_step(self.seed, trainer.global_step, trainer.global_rank)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed the random numbers of one training step: those of torch on all devices, NumPy and Python."""
    number = combined(seed, 4, step, rank)
    if _has_accelerator():
        torch.manual_seed(number)
    else:  # torch.manual_seed formats the stack once for each kind of device that is absent: a millisecond
        torch.default_generator.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)


@cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()
