"""The progress of one run: a bar on a terminal, a callback for a sweep's launcher, else the lines of EpochLog only.

A job of a sweep on a terminal draws nothing itself. It calls `on_progress`, by which its launcher draws all bars.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, RichProgressBar

REPORT_SECONDS = 0.2  # between two calls of on_progress


class HasRate(Protocol):
    """An object with the speed of the running epoch, as EpochLog."""

    @property
    def running_rate(self) -> float:
        """Images per second."""
        ...


class Bar(RichProgressBar):
    """Lightning's rich bar, with the run's title and the images per second of the running epoch.

    Epochs count from 1, as in the lines of EpochLog. Bars of finished epochs are removed.
    """

    def __init__(self, log: HasRate, title: str) -> None:
        super().__init__(leave=False)
        self.epoch_log, self.title = log, title

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any) -> None:
        """Draw the number of steps that are done; one batch may be a chunk of several."""
        outputs, batch, _ = rest
        super().on_train_batch_end(trainer, pl_module, outputs, batch, trainer.fit_loop.batch_idx)

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = self.trainer.max_epochs
        return f"{self.title} epoch {current_epoch + 1}{f'/{epochs}' if (epochs or -1) > 0 else ''}"

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Any:
        return {"images/s": f"{self.epoch_log.running_rate:.0f}"}


class ProgressReport(Callback):
    """Calls on_progress(share of the training steps that is done, images per second) every REPORT_SECONDS."""

    def __init__(self, log: HasRate, on_progress: Callable[[float, float], None]) -> None:
        self.epoch_log, self.on_progress = log, on_progress
        self._last = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        now = time.monotonic()
        if now - self._last >= REPORT_SECONDS:
            self._last = now
            done = trainer.global_step / float(trainer.estimated_stepping_batches)
            self.on_progress(done, self.epoch_log.running_rate)


def progress_callback(log: HasRate, on_progress: Callable[[float, float], None] | None, title: str) -> Callback | None:
    """The callback that shows one run's progress; None where there is neither on_progress nor a terminal.

    title: of the run, for its bar.
    """
    if on_progress is not None:
        return ProgressReport(log, on_progress)
    return Bar(log, title) if sys.stdout.isatty() else None
