"""The log of a run: one row of log.csv for each epoch, with seconds and images per second."""

import csv
import statistics
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from attnlab.data.chunks import images_in
from attnlab.records.atomic import atomic_write
from attnlab.records.epoch_rows import COLUMNS, read_rows


class EpochLog(Callback):
    """Writes log.csv: epochs from 0, errors in percent, seconds since the start. Prints a line for each epoch, from 1.

    title: of the run, which begins the line.  images_per_second: training images of all ranks divided by the time of
    the training steps; the median over all epochs but the first, which is a warm-up.  seconds: of fitting, with
    validation and the parts before a resume.
    """

    def __init__(self, path: Path, title: str) -> None:
        self.path, self.title = path, title
        self.seconds = 0.0
        self.rates: list[float] = []
        self._started = self._epoch_started = self._epoch_ended = 0.0
        self._images = 0
        self.last_epoch_validated = False
        self.epochs = 0  # with a row in log.csv

    @property
    def images_per_second(self) -> float | None:
        rates = self.rates[1:] or self.rates
        return round(statistics.median(rates), 1) if rates else None

    @property
    def running_rate(self) -> float:
        """Images per second of the running epoch so far."""
        return self._images / max(self._epoch_ended - self._epoch_started, 1e-9) if self._images else 0.0

    def state_dict(self) -> dict[str, Any]:
        seconds = time.perf_counter() - self._started if self._started else self.seconds
        validated = self.last_epoch_validated
        return {"seconds": seconds, "rates": list(self.rates), "validated": validated, "epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.rates = state_dict["seconds"], list(state_dict["rates"])
        self.last_epoch_validated, self.epochs = state_dict["validated"], state_dict["epochs"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter() - self.seconds
        self._epoch_started = time.perf_counter()  # the run may resume within an epoch
        if trainer.is_global_zero:
            rows = read_rows(self.path, self.epochs)
            with atomic_write(self.path) as part, part.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.last_epoch_validated = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.last_epoch_validated = False
        self._images = 0
        self._epoch_started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += images_in(batch) * trainer.world_size
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self._epoch_ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch < self.epochs:  # with recipe.steps, a resumed Lightning ends the last epoch again
            return
        self.epochs += 1
        rate = self.running_rate
        self.rates.append(rate)
        self.seconds = time.perf_counter() - self._started
        # The module logs the training scores in its own hook, which Lightning calls after the callbacks'.
        scores: dict[str, Any] = {**trainer.callback_metrics, **pl_module.training_scores()}  # type: ignore[operator]
        if not trainer.is_global_zero:
            return
        fresh = {name for name in scores if self.last_epoch_validated or not name.startswith("val/")}
        metrics = {name: float(scores[name]) for name in fresh}
        row = {name: f"{metrics[name]:.6g}" for name in COLUMNS if name in metrics} | {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "lr": f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}",
            "images_per_second": f"{rate:.1f}",
            "seconds": f"{self.seconds:.2f}",
        }
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        total = trainer.max_epochs if (trainer.max_epochs or -1) > 0 else None
        validated = f", val {metrics['val/top1_error']:.2f} %" if "val/top1_error" in metrics else ""
        epoch = f"{trainer.current_epoch + 1}{f'/{total}' if total else ''}"
        train = f"loss {metrics['train/loss']:.4f}, error {metrics['train/top1_error']:.2f} %"
        print(f"  {self.title} epoch {epoch}: {train}{validated}, {rate:.0f} images/s", flush=True)
