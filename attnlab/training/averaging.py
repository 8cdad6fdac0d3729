"""Averaged weights: recipe.weight_averaging. The average is validated and tested; the optimizer trains the weights.

ema: w <- decay * w + (1 - decay) * weights, after every step
swa: the mean of the weights at the ends of epochs (Izmailov et al. 2018, arXiv 1803.05407)
The running means and variances of BN are averaged in the same way; they are not computed anew.
Before averaging begins, the average is the weights themselves.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from attnlab.training.checkpointing import Best

DECAY = 0.999  # of ema
SWA_START = 0.75  # share of the epochs, as in the paper


def averaging_of(recipe: Mapping[str, Any]) -> "Averaging | None":
    """The callback of a checked recipe; None where recipe.weight_averaging.kind is null."""
    node = recipe.get("weight_averaging") or {}
    if node.get("kind") is None:
        return None
    usual = int(SWA_START * recipe["epochs"]) if node["kind"] == "swa" and recipe["steps"] is None else 0
    start = usual if node.get("start") is None else node["start"]
    return Averaging(node["kind"], node.get("decay") or DECAY, start)


class Averaging(WeightAveraging):
    """Lightning's callback, with the average on the device of the net, and other moments of averaging.

    kind: ema or swa;  decay: of ema;  start: the first epoch, from 0, that is averaged.
    swa averages at the last step of an epoch, before it is validated, so that what is validated is what is tested.
    """

    def __init__(self, kind: str, decay: float, start: int) -> None:
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay) if kind == "ema" else None)
        self.kind, self.decay, self.start = kind, decay, start

    @property
    def state_key(self) -> str:
        return "Averaging"

    def tested(self, epoch: int) -> str:
        """What a test at this epoch, from 0, tests: a line for the log and the record."""
        if epoch < self.start:
            return f"the weights of epoch {epoch} are tested, from before averaging ({self.kind}) began"
        return f"the averaged weights ({self.kind}{f', decay {self.decay}' if self.kind == 'ema' else ''}) are tested"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device
        if stage == "fit":
            super().setup(trainer, pl_module, stage)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        average = self._average_model
        assert average is not None
        begun = trainer.current_epoch >= self.start
        if begun and self.kind == "swa" and not trainer.is_last_batch and trainer.global_step != trainer.max_steps:
            return
        if not begun:
            average.n_averaged.zero_()  # none is averaged yet: update_parameters then copies the weights
        average.update_parameters(pl_module)
        if not begun:
            average.n_averaged.zero_()
        self._latest_update_step = trainer.global_step

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing: the last step of the epoch was averaged when it ended."""

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Only a run that resumes loads both kinds of weights; the test loads the average, which best.ckpt holds."""
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    @contextmanager
    def in_place(self, pl_module: pl.LightningModule) -> Iterator[None]:
        """The module holds the average while the context lasts."""
        self._swap_models(pl_module)
        try:
            yield
        finally:
            self._swap_models(pl_module)


class BestAverage(Best):
    """Best, with the averaged weights in best.ckpt: those that were validated."""

    def __init__(self, folder: Path, averaging: Averaging) -> None:
        super().__init__(folder)
        self.averaging = averaging

    @property
    def state_key(self) -> str:
        return "Best"

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with self.averaging.in_place(pl_module):
            super().on_train_epoch_end(trainer, pl_module)
