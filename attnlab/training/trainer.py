"""The LightningModule and the Trainer of a config."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import Logger
from torch import nn

from attnlab.machine import hardware
from attnlab.records.checkpoint import AtomicCheckpointIO
from attnlab.training.classifier import Classifier
from attnlab.training.ddp import DDP


def make_classifier(values: Mapping[str, Any], net: nn.Module) -> Classifier:
    """The LightningModule around `net`, with what the recipe says about its training."""
    recipe = values["recipe"]
    return Classifier(
        net,
        classes=values["dataset"]["classes"],
        optimizer=recipe["optimizer"],
        schedule=recipe["schedule"],
        weight_decay=recipe["weight_decay"],
        label_smoothing=recipe["label_smoothing"],
    )


def make_trainer(
    values: Mapping[str, Any], folder: Path, callbacks: Sequence[Callback], loggers: Sequence[Logger]
) -> pl.Trainer:
    """The Trainer of a config's recipe and machine, which writes into `folder`."""
    recipe, machine = values["recipe"], values["machine"]
    steps = recipe["steps"]
    hardware.check_devices(machine)
    return pl.Trainer(
        accelerator=hardware.accelerator(machine),
        devices=machine["devices"],
        num_nodes=machine.get("nodes") or 1,
        strategy=DDP() if hardware.several(machine) else machine["strategy"],
        sync_batchnorm=machine.get("sync_batchnorm") or False,
        precision=hardware.precision(machine),  # type: ignore[arg-type]
        max_epochs=-1 if steps is not None else recipe["epochs"],
        max_steps=steps if steps is not None else -1,
        gradient_clip_val=recipe["grad_clip"],
        deterministic=values["deterministic"],
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO(folder.name)],
        logger=list(loggers) or False,
        log_every_n_steps=10**9,  # curves have a point an epoch
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
