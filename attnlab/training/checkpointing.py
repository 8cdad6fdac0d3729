"""The callbacks that write checkpoints: last.ckpt, from which a run goes on, and best.ckpt, whose weights are tested.

A run goes on bit for bit: order and augmentation are drawn from (seed, epoch), the other random numbers from (seed,
step), see Draws; all else is in last.ckpt, with how many batches of its epoch were done.
"""

import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint

from attnlab.data.batches import mixed
from attnlab.errors import ConfigError
from attnlab.records.checkpoint import SCORE, copy_last_to_best, read
from attnlab.records.provenance import joined
from attnlab.records.source_code import Code, differences

TOGETHER = 20  # steps between two agreements of several ranks on the time


class Last(Checkpoint):
    """last.ckpt: at the end of each epoch, and within one when the last is `minutes` old (None: never).

    batch_statistics: over what BN takes them (machine.batch_statistics); `mixed` where a run has gone on otherwise;
    data_hash: of the images; a run goes on with those it began with. Raises ConfigError where they are others.
    stretch: what this start runs under (attnlab.records.provenance); `stretches`: those before it as well;
    started_from: the weights that the run began with, of its first start.
    code: digests of what computes the run (source_code.py); a run goes on with the code it began with, or, where
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
                f"{self.path.parent.name}/{self.path.name}: was trained by other code: {', '.join(files)} changed "
                "since; force=true trains anew, code=recorded goes on with the code of today"
            )
        self.edited = sorted({*state_dict.get("edited", ()), *files})
        self._batches = state_dict["batches"]
        self.started_from = state_dict.get("started_from", self.started_from)
        self.stretches = joined(state_dict.get("stretches", [{}]), self.stretches[0])  # of an older attnlab: unknown
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
        self._make_up(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After a kill in the last epoch no training starts, so on_train_start is not called."""
        self._make_up(trainer)

    def _make_up(self, trainer: pl.Trainer) -> None:
        """Write the best.ckpt that last.ckpt names, where a kill came between the two."""
        if not trainer.is_global_zero:
            return
        there = read(self.path) if self.path.exists() else None
        if self.score is None:  # a new run, or the last.ckpt of an older attnlab
            self.score, self.epoch = (None, None) if there is None else (there[SCORE], there["epoch"])
        elif there is None or (
            (there["epoch"], there[SCORE]) != (self.epoch, self.score) and there["global_step"] != trainer.global_step
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
        """Whether there is none as good."""
        return self.score is None or score < self.score


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
