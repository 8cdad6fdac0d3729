"""The LightningModule around any network images -> logits: loss, metrics, optimiser, schedule."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

from attnlab.configuration.targets import check_types, construct, target
from attnlab.errors import ConfigError, TrainingError
from attnlab.records.predictions import BINS
from attnlab.training.weight_decay import decay_groups

SGD = {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True}
CONSTANT = {"_target_": "attnlab.schedules.constant"}
OFTEN = 50  # steps whose losses are checked together on a GPU; on a CPU each loss is checked at once


class Classifier(pl.LightningModule):
    """Trains `net`, images (B, 3, H, W) -> logits (B, classes), by cross entropy. Works with a plain Trainer.

    optimizer, schedule: {_target_: ..., its arguments};  weight_decay: that of weight_decay.decay_groups;
    label_smoothing: share of the target that is spread over all classes.
    Logs loss and top1_error (percent) under train/, val/ and test/; under val/ and test/ also top5_error (percent; of
    all classes when there are fewer than five) and calibration_error (expected calibration error, 15 bins, 0 to 1).
    Raises TrainingError naming the step at which the training loss is not finite.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        classes: int,
        optimizer: Mapping[str, Any] = SGD,
        schedule: Mapping[str, Any] = CONSTANT,
        weight_decay: Mapping[str, Any] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.net = net
        self.optimizer, self.schedule = dict(optimizer), dict(schedule)
        self.weight_decay = dict(weight_decay or {"default": 5e-4})
        self.label_smoothing = label_smoothing
        scores = MetricCollection(
            {
                "loss": MeanMetric(nan_strategy="disable"),  # keeps NaN, which _report raises
                "top1": MulticlassAccuracy(classes, top_k=1, average="micro"),
                "top5": MulticlassAccuracy(classes, top_k=min(5, classes), average="micro"),
                "calibration_error": MulticlassCalibrationError(classes, n_bins=BINS, norm="l1"),
            },
            compute_groups=False,
        )
        self.scores = nn.ModuleDict({"at_val": scores.clone(), "at_test": scores.clone()})
        # Of the running epoch. float64, so that the sums do not depend on how steps are grouped.
        self.sums = torch.zeros(3, dtype=torch.float64)  # loss * images, errors, images
        # (loss, errors, images) of steps not yet in the sums, on the device: reading a value would wait for it.
        self.recent: list[tuple[Tensor, Tensor, int]] = []
        self.recent_from = 0  # step of the first of them
        # (class, its probability, label) of this rank's test batches, on the device, in loader order.
        self.tested: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def on_train_epoch_start(self) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64)
        self.recent.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the sums of the running epoch, one row for each rank, and the last validation error."""
        checkpoint["sums"] = self._gathered()
        if (score := self.trainer.callback_metrics.get("val/top1_error")) is not None:
            checkpoint["val/top1_error"] = float(score)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Give each rank its own sums; another number of ranks gets equal parts of the total."""
        sums: Tensor | None = checkpoint.get("sums")
        if sums is not None:
            own = len(sums) == self.trainer.world_size
            self.sums = (sums[self.global_rank] if own else sums.sum(dim=0) / self.trainer.world_size).double()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
        seen = loss.detach()
        if not self.recent:
            self.recent_from = self.global_step
        self.recent.append((seen, (logits.detach().argmax(dim=1) != labels).sum(), len(labels)))
        if len(self.recent) == OFTEN or (seen.is_cpu and not math.isfinite(seen)):
            self._add_up()
        return loss * self._share(len(labels)) if self.trainer.world_size > 1 else loss

    def _share(self, images: int) -> Tensor:
        """The factor images * ranks / images of all ranks. It turns DDP's mean over ranks into the mean over images,
        since ranks may have unequal numbers of images."""
        count: Any = self.trainer.strategy.reduce(torch.tensor(float(images), device=self.device), reduce_op="sum")
        return images * self.trainer.world_size / count

    def _add_up(self) -> None:
        """Add the recent steps to the sums; waits for a GPU. Raises TrainingError for a loss that is not finite."""
        if not self.recent:
            return
        losses, wrong = (torch.stack(values).cpu().double() for values in list(zip(*self.recent, strict=True))[:2])
        images = torch.tensor([count for _, _, count in self.recent], dtype=torch.float64)
        self.recent.clear()
        self.sums += torch.stack([(losses * images).sum(), wrong.sum(), images.sum()])
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad):
            self._diverged("the training loss is", self.recent_from + int(bad[0]))

    def _gathered(self) -> Tensor:
        """The sums of all steps so far, one row for each rank. Every rank must call it."""
        self._add_up()
        if self.trainer.world_size == 1:
            return self.sums[None].clone()
        gathered: Any = self.all_gather(self.sums.to(self.device))
        return gathered.cpu()

    def _diverged(self, what: str, step: int) -> None:
        raise TrainingError(
            f"{what} not finite at step {step} (epoch {self.current_epoch}); the last good checkpoint is kept, "
            f"when an epoch had ended before. A smaller recipe.optimizer.lr (now {self.optimizer.get('lr')}) or "
            f"machine.precision=32-true may help, with force=true"
        )

    def _check_epoch(self) -> None:
        """Check losses and weights before validating or saving; the last step's weights have not given a loss yet."""
        self._add_up()
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.net.parameters()):
            self._diverged("the weights are", self.global_step)

    def on_validation_start(self) -> None:
        self._check_epoch()

    def training_scores(self) -> dict[str, Tensor]:
        """train/loss and train/top1_error (percent) of the running epoch, over all ranks. Every rank must call it."""
        loss, wrong, images = self._gathered().sum(dim=0).float()
        return {"train/loss": loss / images, "train/top1_error": 100 * wrong / images}

    def on_train_epoch_end(self) -> None:
        self._check_epoch()
        self.log_dict(self.training_scores())

    def _scores(self, stage: str) -> Any:
        return self.scores[f"at_{stage}"]

    def _score(self, stage: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Add a batch of B images to the scores; return its probabilities (B, classes), float32."""
        images, labels = batch
        logits = self.net(images).float()
        scores = self._scores(stage)
        scores["loss"].update(F.cross_entropy(logits, labels, reduction="none"))
        probabilities = logits.softmax(dim=1)  # torchmetrics guesses, batch by batch, whether values are logits
        for name in ("top1", "top5", "calibration_error"):
            scores[name].update(probabilities, labels)
        return probabilities

    def _report(self, stage: str) -> None:
        scores = self._scores(stage)
        values = scores.compute()
        scores.reset()
        if not torch.isfinite(values["loss"]):
            self._diverged(f"the {stage} loss is", self.global_step)
        self.log(f"{stage}/loss", values["loss"])
        self.log(f"{stage}/top1_error", 100 * (1 - values["top1"]))
        self.log(f"{stage}/top5_error", 100 * (1 - values["top5"]))
        self.log(f"{stage}/calibration_error", values["calibration_error"])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._score("val", batch)

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_start(self) -> None:
        self.tested.clear()

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        probabilities = self._score("test", batch)
        self.tested.append((probabilities.argmax(dim=1), probabilities.amax(dim=1), batch[1]))

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def configure_optimizers(self) -> Any:
        groups = decay_groups(self.net, self.weight_decay)
        optimizer = construct(self.optimizer, "recipe.optimizer", groups)
        knobs = {name: value for name, value in self.schedule.items() if name != "_target_"}
        check_types(target(self.schedule, "recipe.schedule"), knobs, "recipe.schedule")
        self.trainer.fit_loop.setup_data()  # gives the number of steps of an epoch
        total_steps = int(self.trainer.estimated_stepping_batches)
        factor = partial(
            target(self.schedule, "recipe.schedule"),
            steps_per_epoch=int(self.trainer.num_training_batches),
            total_steps=total_steps,
            **knobs,
        )
        try:
            scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        except TypeError as error:
            raise ConfigError(f"recipe.schedule: {error}") from error
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
