"""recipe.early_stopping: training ends when the validation error has not become lower for some epochs."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping

from attnlab.records.checkpoint import SCORE
from attnlab.records.run_folder import print_once


def stopping_of(recipe: Mapping[str, Any], run: str) -> "Stopping | None":
    """The callback of a checked recipe; None where recipe.early_stopping.patience is null."""
    node = recipe.get("early_stopping") or {}
    return None if node.get("patience") is None else Stopping(run, node["patience"], node.get("min_delta") or 0.0)


class Stopping(EarlyStopping):
    """Lightning's callback on val/top1_error (percent).

    run: the run's id, for the printed line;  patience: epochs in a row without an error that is lower than the best one
    by more than min_delta (points).
    """

    def __init__(self, run: str, patience: int, min_delta: float) -> None:
        # At the end of validation, before the checkpoint of the epoch is written, so that it holds this epoch's count.
        super().__init__(SCORE, min_delta=min_delta, patience=patience, mode="min", check_on_train_epoch_end=False)
        self.run = run

    @property
    def state_key(self) -> str:
        return "Stopping"

    @property
    def stopped(self) -> bool:
        """Whether the patience is used up."""
        return self.wait_count >= self.patience

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that had stopped, and was killed before its test, does not train on."""
        trainer.should_stop = trainer.should_stop or self.stopped

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        before = self.stopped
        super().on_validation_end(trainer, pl_module)
        if self.stopped and not before:
            best = float(self.best_score)
            print_once(
                f"{self.run}: stops after epoch {trainer.current_epoch + 1}: no validation error below {best:.2f} % "
                f"for {self.patience} epochs"
            )
