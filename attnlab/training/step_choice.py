"""machine.graph: whether a run trains in chunks of steps, as CUDA graphs on a GPU, and what prevents that."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from attnlab.configuration.messages import wrong_value
from attnlab.data.base import ImageData
from attnlab.data.chunks import Chunks
from attnlab.data.memory import Batches
from attnlab.errors import ConfigError, TrainingError
from attnlab.machine import hardware
from attnlab.machine.graphs import Graphs, graphs_for
from attnlab.records.run_folder import print_once
from attnlab.training.chunk_classifier import CHUNK
from attnlab.training.graph_step import OPTIMIZERS

PRECISIONS = ("32-true", "bf16-mixed")


def obstacle(values: Mapping[str, Any], net: nn.Module) -> str | None:
    """Why the steps of a run cannot be captured, as the key that is to blame; None where they can."""
    machine, recipe = values["machine"], values["recipe"]
    precision, optimizer = hardware.precision(machine), recipe["optimizer"]["_target_"]
    if hardware.several(machine):
        return f"machine.devices={machine['devices']}: ranks wait for each other within a step"
    if precision not in PRECISIONS:
        return f"machine.precision={precision}: allowed are {', '.join(PRECISIONS)}"
    if recipe["grad_clip"] is not None:
        return f"recipe.grad_clip={recipe['grad_clip']}: Lightning clips gradients only without chunks"
    if machine["detect_anomaly"]:
        return "machine.detect_anomaly=true: it reads values on the host"
    if optimizer not in OPTIMIZERS:
        return f"recipe.optimizer._target_={optimizer}: allowed are {', '.join(OPTIMIZERS)}"
    for key in ("mixup", "cutmix"):
        if recipe.get(key) is not None:
            return f"recipe.{key}={recipe[key]}: the share of each batch is drawn on the host"
    if (kind := (recipe.get("weight_averaging") or {}).get("kind")) is not None:
        return f"recipe.weight_averaging.kind={kind}: the weights are averaged between two steps"
    if recipe.get("stochastic_depth") is not None:
        return f"recipe.stochastic_depth={recipe['stochastic_depth']}: branches are skipped by hooks"
    if cycles_momentum(recipe["schedule"]):
        return f"recipe.schedule._target_={recipe['schedule']['_target_']}: it changes the momentum"
    if has_hooks(net):
        return "the net has hooks, which a replay does not call"
    return None


def cycles_momentum(schedule: Mapping[str, Any]) -> bool:
    """Whether a schedule of torch changes the momentum as well, which a captured step would keep."""
    cyclic = str(schedule["_target_"]).endswith((".OneCycleLR", ".CyclicLR"))
    return cyclic and schedule.get("cycle_momentum", True)


def has_hooks(net: nn.Module) -> bool:
    """Whether a module of the net has a hook on its forward or backward pass."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for module in net.modules() for kind in kinds)


def choose_graphs(values: Mapping[str, Any], net: nn.Module, run: str) -> Graphs | None:
    """How the steps of the run are captured; None where Lightning calls every step.

    machine.graph: auto = on a GPU where nothing stands against it, else a line is printed that says what does;
    true = on every device; a CPU captures nothing and does the steps of a chunk one after another; false = nowhere.
    Raises ConfigError for true where something stands against it.
    """
    machine = values["machine"]
    wanted, kind = machine.get("graph", "auto"), hardware.accelerator(machine)
    if wanted is False or (wanted == "auto" and kind != "gpu"):
        return None
    reason = obstacle(values, net)
    if reason and wanted is True:
        raise ConfigError(wrong_value("machine.graph", True, f"auto or false, because of {reason}"))
    if reason:
        print_once(f"{run}: steps run one by one, not as a CUDA graph, because of {reason}")
        return None
    return graphs_for(kind)


def run_eagerly(values: Mapping[str, Any], run: str) -> Callable[[str], None]:
    """What happens when a step cannot be captured: machine.graph=true raises TrainingError, auto prints the reason."""

    def on_failure(reason: str) -> None:
        if values["machine"].get("graph") is True:
            raise TrainingError(f"the step cannot be captured as a CUDA graph: {reason}; machine.graph=auto goes on")
        print_once(f"{run}: steps run one by one, since capturing a CUDA graph failed: {reason}")

    return on_failure


def load_in_chunks(data: ImageData, checkpoint_minutes: float | None) -> None:
    """Make the training loader of a dataset in memory yield chunks; other datasets keep their loader.

    checkpoint_minutes: machine.checkpoint_minutes; 0 = a checkpoint after each step, so a chunk is one step.
    """
    make = data.train_dataloader

    @functools.wraps(make)
    def train_dataloader() -> Any:
        loader = make()
        steps = 1 if checkpoint_minutes == 0 else CHUNK
        return Chunks(loader, steps) if isinstance(loader, Batches) else loader

    data.train_dataloader = train_dataloader  # type: ignore[method-assign]
