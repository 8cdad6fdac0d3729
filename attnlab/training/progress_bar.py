"""What a person watches: a bar for a run, bars for a sweep, plain lines where there is no terminal.

A job of a sweep on a terminal draws nothing itself: it tells its launcher how far it is (`listener`), and the launcher,
which owns the terminal, draws the sweep and every running job, and prints their lines above.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, RichProgressBar

OFTEN = 0.2  # seconds between two words from a job to its launcher

#: takes (share of the training that is done, images per second); set in the jobs of a sweep on a terminal
listener: Callable[[float, float], None] | None = None


class Rated(Protocol):
    """What knows the images per second of the running epoch."""

    @property
    def running_rate(self) -> float:
        """Images per second."""
        ...


class Bar(RichProgressBar):
    """Lightning's rich bar, with the images per second of the running epoch; it leaves no trace of finished epochs."""

    def __init__(self, log: Rated) -> None:
        super().__init__(leave=False)
        self.log_of_epochs = log

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Any:
        return {"images/s": f"{self.log_of_epochs.running_rate:.0f}"}


class Teller(Callback):
    """Tells the listener the share of the training steps that is done, a few times a second."""

    def __init__(self, log: Rated, listen: Callable[[float, float], None]) -> None:
        self.log_of_epochs, self.listen = log, listen
        self._last = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        now = time.monotonic()
        if now - self._last >= OFTEN:
            self._last = now
            done = trainer.global_step / float(trainer.estimated_stepping_batches)
            self.listen(done, self.log_of_epochs.running_rate)


def progress_of(log: Rated) -> Callback | None:
    """The callback that shows one run's progress; None where EpochLog's plain lines are all there is."""
    if listener is not None:
        return Teller(log, listener)
    return Bar(log) if sys.stdout.isatty() else None
