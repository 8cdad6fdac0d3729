"""The training step in plain PyTorch: what Lightning and our classifier do for each batch, and nothing else."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.benchmarks.options import Setting
from attnlab.configuration.targets import construct
from attnlab.errors import ConfigError
from attnlab.machine.acceleration import accelerate
from attnlab.machine.dilated import correct_dilated
from attnlab.models.network import build
from attnlab.training.weight_decay import decay_groups


def as_set(net: nn.Module, here: Setting) -> nn.Module:
    """The net as attnlab.train trains it under a setting: device, memory format, compiled or accelerated."""
    net = net.to(here.device).train()
    if here.channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    correct_dilated(net, device=here.device.type, precision=here.precision)
    if here.compile:
        net.compile()
    elif here.accelerate:
        accelerate(net, device=here.device.type, precision=here.precision, channels_last=here.channels_last)
    return net


def optimizer(net: nn.Module, recipe: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The recipe's, with its weight decay."""
    return construct(recipe["optimizer"], "recipe.optimizer", decay_groups(net, recipe["weight_decay"]))


def refuse(recipe: Mapping[str, Any]) -> None:
    """Raise ConfigError for keys of a recipe that a bare loop does not do."""
    averaging = (recipe.get("weight_averaging") or {}).get("kind")
    given = {key: recipe.get(key) for key in ("grad_clip", "mixup", "cutmix", "stochastic_depth")}
    for key, value in (given | {"weight_averaging.kind": averaging}).items():
        if value is not None:
            raise ConfigError(f"wrong value recipe.{key}={value}; allowed in this benchmark is null")


class Step:
    """`step(images, labels)` -> (loss, logits): forward and loss under autocast, backward, the optimizer's step.

    Raises ConfigError for what it does not do, see `refuse`.
    """

    def __init__(self, net: nn.Module, recipe: Mapping[str, Any], here: Setting) -> None:
        refuse(recipe)
        self.net, self.here = net, here
        self.optimizer = optimizer(net, recipe)
        self.smoothing = recipe["label_smoothing"]

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        with self.here.autocast():
            logits = self.net(images)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.smoothing)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), logits.detach()


def random_batch(values: Mapping[str, Any], here: Setting) -> tuple[Tensor, Tensor]:
    """(images (B, 3, H, W) float32, labels (B,)), on the device: random bytes, centred, scaled to about sd 1."""
    draw = torch.Generator().manual_seed(values["seed"])
    size, count = values["dataset"]["image_size"], values["recipe"]["batch_size"]
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=draw)
    labels = torch.randint(values["dataset"]["classes"], (count,), generator=draw)
    return images.to(here.device).float().sub_(127.5).div_(73.9), labels.to(here.device)  # sd of uniform bytes


def stepping(values: Mapping[str, Any], here: Setting) -> Callable[[], object]:
    """A function that does one training step of the config's net, always on the same batch."""
    step, batch = Step(as_set(build(values), here), values["recipe"], here), random_batch(values, here)
    return lambda: step(*batch)
