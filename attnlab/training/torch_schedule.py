"""Schedules of torch, recipe.schedule._target_=torch.optim.lr_scheduler.NAME, stepped once an epoch or once a step."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from attnlab.configuration.messages import wrong_value
from attnlab.configuration.targets import construct
from attnlab.errors import ConfigError
from attnlab.training.classifier import Classifier
from attnlab.training.weight_decay import decay_groups

KEY = "recipe.schedule"
UNITS = ("epochs", "steps")


def follow(classifier: Classifier, schedule: Mapping[str, Any]) -> None:
    """Make the classifier follow a schedule of torch in place of a function of attnlab.schedules.

    schedule: {_target_: a class of torch.optim.lr_scheduler, its arguments, unit: epochs | steps}; unit: what one step
    of the schedule is, an epoch if it is missing.
    Raises ConfigError at once for an argument that the class does not have or refuses, and for another unit.
    """
    node = {name: value for name, value in schedule.items() if name != "unit"}
    unit = schedule.get("unit", "epochs")
    if unit not in UNITS:
        raise ConfigError(wrong_value(f"{KEY}.unit", unit, " or ".join(UNITS)))
    construct(node, KEY, _optimizer(classifier))  # tried on an optimizer of its own, before anything is trained

    def configure_optimizers() -> Any:
        optimizer = _optimizer(classifier)
        classifier.trainer.fit_loop.setup_data()  # gives the number of steps of an epoch
        steps = int(classifier.trainer.num_training_batches) if unit == "epochs" else 1
        scheduler = EveryFew(construct(node, KEY, optimizer), steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    classifier.configure_optimizers = configure_optimizers  # type: ignore[method-assign]


def _optimizer(classifier: Classifier) -> torch.optim.Optimizer:
    groups = decay_groups(classifier.net, classifier.weight_decay)
    return construct(classifier.optimizer, "recipe.optimizer", groups)


class EveryFew(LRScheduler):
    """A schedule that takes one step of `inner` in every `steps` calls of `step`.

    Lightning and the chunks of steps (chunk_classifier) call `step` after every training step. A checkpoint holds the
    number of calls, so a run that resumes within an epoch ends it where it would have ended.
    """

    def __init__(self, inner: LRScheduler, steps: int) -> None:
        # LRScheduler's own constructor would set the learning rate, which is the business of `inner`.
        self.inner, self.steps, self.calls = inner, steps, 0
        self.optimizer = inner.optimizer

    def step(self, epoch: int | None = None) -> None:
        self.calls += 1
        if self.calls % self.steps == 0:
            self.inner.step()

    def get_last_lr(self) -> Any:
        return self.inner.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {"calls": self.calls, "inner": self.inner.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.calls = state_dict["calls"]
        self.inner.load_state_dict(state_dict["inner"])
