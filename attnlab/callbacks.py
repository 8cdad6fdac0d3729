"""What attnlab watches during training: one row of log.csv an epoch, seconds and images per second."""

import csv
import statistics
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

COLUMNS = (
    "epoch", "step", "lr", "train/loss", "train/top1_error", "val/loss", "val/top1_error", "val/top5_error",
    "val/calibration_error", "images_per_second", "seconds",
)  # fmt: skip


class EpochLog(Callback):
    """Writes log.csv (epochs from 0, errors in percent, seconds since the start, resumed parts included).

    images_per_second: training images of all ranks over the time of the training steps, the median over epochs
    without the first, which warms up; seconds: of fitting, validation included. Prints a line an epoch.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path, self.run = path, run
        self.seconds = 0.0
        self.rates: list[float] = []
        self._started = self._epoch_started = self._epoch_ended = 0.0
        self._images = 0
        self.last_epoch_validated = False

    @property
    def images_per_second(self) -> float | None:
        rates = self.rates[1:] or self.rates
        return round(statistics.median(rates), 1) if rates else None

    @property
    def running_rate(self) -> float:
        """Images per second of the running epoch so far."""
        return self._images / max(self._epoch_ended - self._epoch_started, 1e-9) if self._images else 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "rates": list(self.rates)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.rates = state_dict["seconds"], list(state_dict["rates"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter() - self.seconds
        if trainer.is_global_zero:
            rows = []
            if trainer.current_epoch > 0 and self.path.exists():
                with self.path.open(newline="") as file:
                    rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < trainer.current_epoch]
            with self.path.open("w", newline="") as file:
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
        self._images += len(batch[1]) * trainer.world_size
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self._epoch_ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        rate = self.running_rate
        self.rates.append(rate)
        self.seconds = time.perf_counter() - self._started
        # Callbacks are called before the module's own hook, which logs these scores.
        scores: dict[str, Any] = {**trainer.callback_metrics, **pl_module.training_scores()}  # type: ignore[operator]
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in scores.items()}
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
        validated = f", val error {metrics['val/top1_error']:.2f} %" if "val/top1_error" in metrics else ""
        epoch = f"{trainer.current_epoch + 1}{f'/{total}' if total else ''}"
        train = f"train loss {metrics['train/loss']:.4f}, error {metrics['train/top1_error']:.2f} %"
        print(f"  {self.run} epoch {epoch}: {train}{validated}, {rate:.0f} images/s", flush=True)


class MovableCheckpoint(ModelCheckpoint):
    """Lightning's, which forgets its best score when the folder it stands in was renamed or copied elsewhere."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        moved = dict(state_dict, dirpath=self.dirpath)
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[name] = here(moved.get(name, ""))
        moved["best_k_models"] = {here(path): score for path, score in moved.get("best_k_models", {}).items()}
        super().load_state_dict(moved)


def checkpoints(folder: Path, validates: bool) -> tuple[ModelCheckpoint | None, ModelCheckpoint]:
    """(best.ckpt by the validation error, None without validation; last.ckpt) of a run."""
    best = None
    if validates:
        best = MovableCheckpoint(
            folder, "best", monitor="val/top1_error", mode="min", save_weights_only=True,
            auto_insert_metric_name=False, enable_version_counter=False,
        )  # fmt: skip
    last = MovableCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    return best, last


def chosen_epoch(path: Path, best: ModelCheckpoint | None) -> tuple[int, float | None]:
    """(epoch, validation error) of the checkpoint that is tested."""
    epoch = int(torch.load(path, map_location="cpu", weights_only=True)["epoch"])
    if best is None or best.best_model_score is None:
        return epoch, None
    return epoch, round(float(best.best_model_score), 6)
