"""The LightningModule around any network images -> logits: loss, metrics, optimiser, schedule."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

from attnlab.construct import check_types, construct, target
from attnlab.decay import decay_groups
from attnlab.errors import ConfigError, TrainingError

SGD = {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True}
CONSTANT = {"_target_": "attnlab.schedules.constant"}
BINS = 15  # of the calibration error, Guo et al. 2017 (arXiv 1706.04599)
NEVER = 2**62


class Classifier(pl.LightningModule):
    """Trains `net`, images (B, 3, H, W) -> logits (B, classes), by cross entropy; works with a plain Trainer.

    optimizer, schedule: {_target_: ..., knobs}; weight_decay: as attnlab.decay.decay_groups;
    label_smoothing: share of the target spread over all classes.
    Logs train/, val/, test/ of loss and top1_error (percent); val and test also top5_error (percent; of fewer classes
    when there are fewer than five) and calibration_error (15 bins, 0 to 1).
    Raises TrainingError naming the step at which the training loss is no longer finite.
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
                "loss": MeanMetric(),
                "top1": MulticlassAccuracy(classes, top_k=1, average="micro"),
                "top5": MulticlassAccuracy(classes, top_k=min(5, classes), average="micro"),
                "calibration_error": MulticlassCalibrationError(classes, n_bins=BINS, norm="l1"),
            },
            compute_groups=False,
        )
        self.scores = nn.ModuleDict({"at_val": scores.clone(), "at_test": scores.clone()})
        # Sums of the running epoch, on the device: reading one would make every step wait for the GPU.
        self.sums = torch.zeros(3)
        self.bad_step = torch.tensor(NEVER)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def on_train_epoch_start(self) -> None:
        self.sums = torch.zeros(3, device=self.device)  # loss * images, errors, images
        self.bad_step = torch.tensor(NEVER, device=self.device)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
        with torch.no_grad():
            wrong = (logits.argmax(dim=1) != labels).sum()
            self.sums += torch.stack([loss.detach() * len(labels), wrong, wrong * 0 + len(labels)])
            step = torch.where(torch.isfinite(loss), NEVER, self.global_step)
            self.bad_step = torch.minimum(self.bad_step, step)
        if self.device.type == "cpu" or batch_idx % 50 == 0:
            self._stop_if_not_finite()
        return loss

    def _stop_if_not_finite(self) -> None:
        step = int(self.bad_step)
        if step != NEVER:
            self._diverged("the training loss is", step)

    def _diverged(self, what: str, step: int) -> None:
        raise TrainingError(
            f"{what} not finite at step {step} (epoch {self.current_epoch}); the last good checkpoint is kept, "
            f"when an epoch had ended before. A smaller recipe.optimizer.lr (now {self.optimizer.get('lr')}) or "
            f"machine.precision=32-true may help, with force=true"
        )

    def _check_epoch(self) -> None:
        """Before anything is validated or saved: the last step may have left weights that no loss has seen yet."""
        self._stop_if_not_finite()
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.net.parameters()):
            self._diverged("the weights are", self.global_step)

    def on_validation_start(self) -> None:
        self._check_epoch()

    def training_scores(self) -> dict[str, Tensor]:
        """train/loss and train/top1_error (percent) of the running epoch, over all ranks; every rank must ask."""
        gathered: Any = self.all_gather(self.sums)
        loss, wrong, images = gathered.reshape(-1, 3).sum(dim=0)
        return {"train/loss": loss / images, "train/top1_error": 100 * wrong / images}

    def on_train_epoch_end(self) -> None:
        self._check_epoch()
        self.log_dict(self.training_scores())

    def _scores(self, stage: str) -> Any:
        return self.scores[f"at_{stage}"]

    def _score(self, stage: str, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch
        logits = self.net(images).float()
        scores = self._scores(stage)
        scores["loss"].update(F.cross_entropy(logits, labels, reduction="none"))
        probabilities = logits.softmax(dim=1)  # given logits, torchmetrics guesses batch by batch what they are
        for name in ("top1", "top5", "calibration_error"):
            scores[name].update(probabilities, labels)

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

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._score("test", batch)

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def configure_optimizers(self) -> Any:
        groups = decay_groups(self.net, self.weight_decay)
        optimizer = construct(self.optimizer, "recipe.optimizer", groups)
        knobs = {name: value for name, value in self.schedule.items() if name != "_target_"}
        check_types(target(self.schedule, "recipe.schedule"), knobs, "recipe.schedule")
        self.trainer.fit_loop.setup_data()  # the loader tells how many steps an epoch has
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
