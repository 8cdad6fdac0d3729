"""The parts of a run that a config names, made: its data, its LightningModule, its Trainer."""

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import Logger
from torch import nn

from attnlab import machine
from attnlab.checkpoint_files import WholeFiles
from attnlab.classifier import Classifier
from attnlab.construct import construct, target
from attnlab.strategy import DDP


def datamodule(values: Mapping[str, Any]) -> Any:
    """The LightningDataModule of a config: the dataset, with what the recipe says about batches and augmentation."""
    recipe, make = values["recipe"], target(values["dataset"], "dataset")
    drop = {"drop_last": True} if recipe.get("drop_last") else {}  # an own dataset need not know it
    # Only datasets that are read image by image ask for them.
    workers = (
        {"workers": machine.share(values["machine"], "workers")} if "workers" in signature(make).parameters else {}
    )
    return construct(
        values["dataset"],
        "dataset",
        **workers,
        **drop,
        batch_size=recipe["batch_size"],
        validation=recipe["validation"],
        normalize=recipe["normalize"],
        augment=recipe["augment"],
        order_seed=values["seed"],
        passes_per_epoch=recipe.get("passes_per_epoch") or 1,
    )


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
    recipe, hardware = values["recipe"], values["machine"]
    steps = recipe["steps"]
    machine.check_devices(hardware)
    return pl.Trainer(
        accelerator=machine.accelerator(hardware),
        devices=hardware["devices"],
        num_nodes=hardware.get("nodes") or 1,
        strategy=DDP() if machine.several(hardware) else hardware["strategy"],
        sync_batchnorm=hardware.get("sync_batchnorm") or False,
        precision=machine.precision(hardware),  # type: ignore[arg-type]
        max_epochs=-1 if steps is not None else recipe["epochs"],
        max_steps=steps if steps is not None else -1,
        gradient_clip_val=recipe["grad_clip"],
        deterministic=values["deterministic"],
        callbacks=list(callbacks),
        plugins=[WholeFiles(folder.name)],
        logger=list(loggers) or False,
        log_every_n_steps=10**9,  # curves have a point an epoch
        limit_train_batches=hardware["batches"],
        limit_val_batches=hardware["batches"],
        limit_test_batches=hardware["batches"],
        detect_anomaly=hardware["detect_anomaly"],
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
