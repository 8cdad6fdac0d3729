"""The data module of a config."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from attnlab.configuration.compose import compose_file
from attnlab.configuration.explain import explain
from attnlab.configuration.targets import construct, parameters, target
from attnlab.data.base import ImageData
from attnlab.data.parts import choose_parts
from attnlab.errors import ConfigError
from attnlab.machine import hardware

#: the class of a tree that is tested on another folder than test/ (dataset.test_split)
TRAIN_VAL_FOLDER = {"attnlab.data.folder.Folder": "attnlab.data.train_val_folder.TrainValFolder"}


def make_datamodule(values: Mapping[str, Any]) -> ImageData:
    """The dataset of a config, with the recipe's batches and augmentation."""
    recipe, node = values["recipe"], _class_of(values["dataset"])
    make, augment = target(node, "dataset"), dict(recipe["augment"] or {})
    drop = {"drop_last": True} if recipe.get("drop_last") else {}  # a dataset from another package may not have it
    # Only datasets that are read picture by picture have workers.
    workers = {"workers": hardware.share(values["machine"], "workers")} if "workers" in parameters(make) else {}
    fraction, policy, erasing = node.pop("fraction", None), augment.pop("policy", None), augment.pop("erasing", None)
    data: ImageData = construct(
        node,
        "dataset",
        **workers,
        **drop,
        batch_size=recipe["batch_size"],
        validation=recipe["validation"],
        normalize=recipe["normalize"],
        augment=augment,
        order_seed=values["seed"],
        passes_per_epoch=recipe.get("passes_per_epoch") or 1,
    )
    choose_parts(data, recipe["validation"]["images"], fraction)
    if policy or erasing:
        from attnlab.data.batch_augment import augment_batches  # part of the code of runs that use it

        augment_batches(data, policy=policy, erasing=erasing)
    return data


def _class_of(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The dataset's node, with the class that reads its test images; without test_split where that is null."""
    node = dict(dataset)
    if node["_target_"] not in TRAIN_VAL_FOLDER:
        return node
    if node.get("test_split") is None:
        node.pop("test_split", None)
        return node
    return node | {"_target_": TRAIN_VAL_FOLDER[node["_target_"]]}


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
