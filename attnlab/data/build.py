"""The data module of a config."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from attnlab.configuration.compose import compose_file
from attnlab.configuration.explain import explain
from attnlab.configuration.targets import construct, parameters, target
from attnlab.data.base import ImageData
from attnlab.errors import ConfigError
from attnlab.machine import hardware


def make_datamodule(values: Mapping[str, Any]) -> ImageData:
    """The dataset of a config, with the recipe's batches and augmentation."""
    recipe, make = values["recipe"], target(values["dataset"], "dataset")
    drop = {"drop_last": True} if recipe.get("drop_last") else {}  # a dataset from another package may not have it
    # Only datasets that are read picture by picture have workers.
    workers = {"workers": hardware.share(values["machine"], "workers")} if "workers" in parameters(make) else {}
    data: ImageData = construct(
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
    return data


def folders_of(choice: str, overrides: Sequence[str]) -> dict[str, str]:
    """{"root": folder, "cache": folder} of `dataset=CHOICE` with these overrides, as far as it has them.

    A recorded config has neither. Other keys are not resolved, since they may depend on the images.
    """
    node = compose_file("run", [f"dataset={choice}", *overrides]).dataset
    try:
        found = {name: node[name] for name in ("root", "cache") if name in node.keys()}  # noqa: SIM118 - ??? is a key
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    return {name: folder for name, folder in found.items() if name == "cache" or folder is not None}
