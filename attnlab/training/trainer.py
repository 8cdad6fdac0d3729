"""The LightningModule and the Trainer of a config."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import Logger
from torch import nn

from attnlab.configuration.identity import cell
from attnlab.machine import hardware
from attnlab.machine.compiler import compile_turn
from attnlab.machine.graphs import Graphs
from attnlab.training.checkpoint_io import AtomicCheckpointIO
from attnlab.training.chunk_classifier import ChunkClassifier
from attnlab.training.classifier import Classifier
from attnlab.training.ddp import DDP, RankWatch


def make_classifier(
    values: Mapping[str, Any],
    net: nn.Module,
    graphs: Graphs | None = None,
    *,
    compiled: bool = False,
    on_failure: Callable[[str], None] = print,
) -> Classifier:
    """The LightningModule around `net`, with the loss, optimiser and schedule of the recipe.

    graphs: how steps are captured; None = Lightning calls every step.  compiled, on_failure: see GraphStep.
    """
    recipe = values["recipe"]
    settings = {"classes": values["dataset"]["classes"]}
    settings |= {name: recipe[name] for name in ("optimizer", "schedule", "weight_decay", "label_smoothing")}
    classifier = _classifier(values, net, graphs, settings, compiled=compiled, on_failure=on_failure)
    if str(recipe["schedule"]["_target_"]).startswith("torch."):
        from attnlab.training.torch_schedule import follow  # part of the code of runs that use it

        follow(classifier, recipe["schedule"])
    return classifier


def _classifier(
    values: Mapping[str, Any],
    net: nn.Module,
    graphs: Graphs | None,
    settings: dict[str, Any],
    *,
    compiled: bool,
    on_failure: Callable[[str], None],
) -> Classifier:
    recipe = values["recipe"]
    mixing = {name: recipe[name] for name in ("mixup", "cutmix") if recipe.get(name) is not None}
    if mixing:  # step_choice gives such a run no graphs
        from attnlab.training.mixing import MixingClassifier  # part of the code of runs that use it

        return MixingClassifier(net, seed=values["seed"], **mixing, **settings)
    if graphs is None:
        return Classifier(net, **settings)
    return ChunkClassifier(
        net, graphs=graphs, batch_size=recipe["batch_size"], seed=values["seed"], compiled=compiled,
        first_step=compile_turn(cell(values)) if compiled else None, on_failure=on_failure, **settings,
    )  # fmt: skip


def make_trainer(
    values: Mapping[str, Any],
    folder: Path,
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
    rank_watch: RankWatch | None = None,
) -> pl.Trainer:
    """The Trainer of a config's recipe and machine, which writes into `folder`.

    rank_watch: watches the ranks of a run on several devices.
    """
    recipe, machine = values["recipe"], values["machine"]
    steps = recipe["steps"]
    hardware.check_devices(machine)
    return pl.Trainer(
        accelerator=hardware.accelerator(machine),
        devices=machine["devices"],
        num_nodes=machine.get("nodes") or 1,
        strategy=DDP(rank_watch or RankWatch()) if hardware.several(machine) else "auto",
        sync_batchnorm=machine.get("sync_batchnorm") or False,
        precision=hardware.precision(machine),  # type: ignore[arg-type]
        max_epochs=-1 if steps is not None else recipe["epochs"],
        max_steps=steps if steps is not None else -1,
        gradient_clip_val=recipe["grad_clip"],
        deterministic=values["deterministic"],
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO(folder.name)],
        logger=list(loggers) or False,
        log_every_n_steps=10**9,  # curves have one point for each epoch
        limit_train_batches=machine["batches"],
        limit_val_batches=machine["batches"],
        limit_test_batches=machine["batches"],
        detect_anomaly=machine["detect_anomaly"],
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
