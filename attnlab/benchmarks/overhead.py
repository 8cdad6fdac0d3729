"""The cost of Lightning and of our classifier per training step, against a bare PyTorch loop with the same work.

`ours`: the Trainer, classifier and callbacks of attnlab.train with tracker=csv;  `lightning`: a Trainer with a minimal
LightningModule and no callbacks;  `bare`: a loop without Lightning. All three have the same net, batches, loader,
autocast, loss, optimizer and schedule, and end with the same weights; `ours` and `bare` also sum the loss and the
errors of the epoch. They run in turn, some steps at a time. Work done once per run or per epoch is in none of the
times. Recipe: modern, unless another is named.
"""

import io
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.benchmarks.bare_loop import Step, as_set, optimizer, refuse
from attnlab.benchmarks.interleave import Turns
from attnlab.benchmarks.options import BenchOptions, Setting, describe, setting
from attnlab.benchmarks.report import Report, Row, spread
from attnlab.benchmarks.step import net_name
from attnlab.benchmarks.timing import in_turn
from attnlab.configuration.messages import wrong_value
from attnlab.configuration.targets import target
from attnlab.data.build import make_datamodule
from attnlab.data.memory import Batches, MemoryData
from attnlab.errors import ConfigError
from attnlab.models.network import build
from attnlab.training.checkpointing import Draws, Last
from attnlab.training.epoch_log import EpochLog
from attnlab.training.lightning_noise import quiet
from attnlab.training.trainer import make_classifier, make_trainer

DEFAULTS = ("recipe=modern", "tracker=csv", "dataset.train_size=2000", "recipe.validation.images=0")
STEPS = {"linear": 50, "net": 3}  # per turn
WARM_UP = 2  # turns


class TrainingOnly(pl.LightningDataModule):
    """Training batches and no validation loader, like MemoryData for a recipe that holds no images out."""

    def __init__(self, loader: Turns) -> None:
        super().__init__()
        self.loader = loader

    def train_dataloader(self) -> Turns:
        return self.loader

    def val_dataloader(self) -> list[Any]:
        return []


class MinimalModule(pl.LightningModule):
    """The minimal LightningModule that trains a net with a recipe."""

    def __init__(self, values: Mapping[str, Any], net: nn.Module, steps: int) -> None:
        super().__init__()
        self.net, self.values, self.steps = net, values, steps

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        smoothing = self.values["recipe"]["label_smoothing"]
        return F.cross_entropy(self.net(images).float(), labels, label_smoothing=smoothing)

    def configure_optimizers(self) -> Any:
        found = optimizer(self.net, self.values["recipe"])
        return {
            "optimizer": found,
            "lr_scheduler": {"scheduler": scheduler(found, self.values, self.steps), "interval": "step"},
        }


def scheduler(found: torch.optim.Optimizer, values: Mapping[str, Any], steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """The recipe's schedule over one epoch of `steps` steps."""
    node = values["recipe"]["schedule"]
    knobs = {name: value for name, value in node.items() if name != "_target_"}
    factor = partial(target(node, "recipe.schedule"), steps_per_epoch=steps, total_steps=steps, **knobs)
    return torch.optim.lr_scheduler.LambdaLR(found, factor)


def bare(values: Mapping[str, Any], net: nn.Module, loader: Turns, here: Setting) -> None:
    """Train in a loop without Lightning."""
    step = Step(net, values["recipe"], here)
    schedule = scheduler(step.optimizer, values, len(loader))
    sums = torch.zeros(3, device=here.device)  # loss * images, errors, images
    for images, labels in loader:
        loss, logits = step(images, labels)
        wrong = (logits.argmax(dim=1) != labels).sum()
        sums += torch.stack([loss * len(labels), wrong, wrong * 0 + len(labels)])
        schedule.step()


def lightning(values: Mapping[str, Any], net: nn.Module, loader: Turns, here: Setting) -> None:
    """Train with Lightning, without our module and callbacks."""
    trainer = pl.Trainer(
        accelerator="gpu" if here.device.type == "cuda" else here.device.type,
        devices=1,
        precision=here.precision,  # type: ignore[arg-type]
        max_epochs=-1,
        max_steps=len(loader),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(MinimalModule(values, net, len(loader)), train_dataloaders=loader)


def ours(values: Mapping[str, Any], net: nn.Module, loader: Turns, here: Setting) -> None:
    """Train as attnlab.training.train does between building the net and testing it."""
    recipe = values["recipe"] | {"steps": len(loader)}
    with tempfile.TemporaryDirectory() as folder:
        last = Last(Path(folder), values["machine"]["checkpoint_minutes"], "batch", None, {}, {})
        callbacks = [Draws(values["seed"]), EpochLog(Path(folder) / "log.csv", "bench"), last]
        trainer = make_trainer(dict(values) | {"recipe": recipe}, Path(folder), callbacks, [])
        trainer.fit(make_classifier(values, net), datamodule=TrainingOnly(loader))


KINDS = {"bare": bare, "lightning": lightning, "ours": ours}


def loops(
    make: Callable[[], nn.Module], values: Mapping[str, Any], batches: Batches, here: Setting, steps: int, turns: int
) -> dict[str, tuple[nn.Module, Turns]]:
    """{kind of KINDS: (a new net of `make`, the loop that trains it)}; the nets start with equal weights."""

    def loop(kind: Callable[..., None]) -> tuple[nn.Module, Turns]:
        net = as_set(make(), here)
        return net, Turns(lambda loader: kind(values, net, loader, here), batches, steps, turns)

    return {name: loop(kind) for name, kind in KINDS.items()}


def in_turns(found: Mapping[str, tuple[nn.Module, Turns]], repeats: int) -> dict[str, list[float]]:
    """Seconds per step of each loop, one number per round; turns beyond `repeats` are run first, as a warm-up."""
    takes = {name: turns.take for name, (_, turns) in found.items()}
    with redirect_stdout(io.StringIO()):  # without a terminal, no progress bar is drawn
        for _ in range(next(iter(found.values()))[1].turns - repeats):
            in_turn(takes, 1)
        seconds = in_turn(takes, repeats)
        for _, turns in found.values():
            turns.end()
    return seconds


def overhead(options: BenchOptions) -> Report:
    """`ours` over `bare`, `lightning` over `bare`, `ours` over `lightning`, for a linear net and for the model.

    The linear net itself costs almost nothing, so its row shows the overhead without the net.
    """
    values = options.values(*DEFAULTS, attention=options.attentions[0] if options.attentions else "none")
    refuse(values["recipe"])
    if (schedule := values["recipe"]["schedule"]["_target_"]).startswith("torch."):
        raise ConfigError(wrong_value("recipe.schedule._target_", schedule, "a function of attnlab.schedules here"))
    here = setting(values)
    data = make_datamodule(values)
    if not isinstance(data, MemoryData):
        raise ConfigError(f"wrong dataset {values['dataset']['_target_']}; allowed here are datasets held in memory")
    data.setup()
    data.train = data.train.to(here.device)
    quiet()
    size, classes = values["dataset"]["image_size"], values["dataset"]["classes"]
    nets: dict[str, tuple[Callable[[], nn.Module], int]] = {
        "a linear net": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * size**2, classes)), STEPS["linear"]),
        net_name(options): (lambda: build(values), STEPS["net"]),
    }
    rows = []
    for name, (make, steps) in nets.items():
        found = loops(make, values, data.train_dataloader(), here, steps, options.repeats + WARM_UP)
        seconds = in_turns(found, options.repeats)
        for of, over in (("ours", "bare"), ("lightning", "bare"), ("ours", "lightning")):
            more = spread([a - b for a, b in zip(seconds[of], seconds[over], strict=True)]).median
            target_ = "<= +5 %" if (of, over) == ("ours", "bare") and name != "a linear net" else ""
            case = f"{name}, batch {values['recipe']['batch_size']}"
            rows.append(Row(case, seconds, of, over, "extra", target_, {"us per step": round(1e6 * more)}))
    title = "a step of Lightning and our classifier over a bare PyTorch loop doing the same work"
    return Report("overhead", title, rows, describe(here))
