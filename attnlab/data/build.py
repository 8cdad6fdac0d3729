"""The LightningDataModule of a config."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from attnlab.configuration.targets import construct, target
from attnlab.machine import hardware


def make_datamodule(values: Mapping[str, Any]) -> Any:
    """The LightningDataModule of a config: the dataset, with what the recipe says about batches and augmentation."""
    recipe, make = values["recipe"], target(values["dataset"], "dataset")
    drop = {"drop_last": True} if recipe.get("drop_last") else {}  # an own dataset need not know it
    # Only datasets that are read image by image ask for them.
    workers = (
        {"workers": hardware.share(values["machine"], "workers")} if "workers" in signature(make).parameters else {}
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
