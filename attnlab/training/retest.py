"""Test a finished run again, on any split of its own or of another dataset, on this machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import OmegaConf

from attnlab.configuration.compose import compose_file
from attnlab.configuration.digest import digest
from attnlab.configuration.groups import choices
from attnlab.configuration.identity import science
from attnlab.configuration.names import name_of
from attnlab.data.build import make_datamodule
from attnlab.errors import ConfigError, DataError
from attnlab.evaluation.finished_run import check_images
from attnlab.machine import hardware
from attnlab.models.network import load
from attnlab.records.image_folder import remembered_root
from attnlab.records.record import Record, find_run, read_config, read_valid_record, write_json
from attnlab.records.run_folder import print_once
from attnlab.tables.class_names import class_names
from attnlab.training.classifier import Classifier
from attnlab.training.lightning_noise import quiet


def retest(run: str, split: str, cfg: Mapping[str, Any], *, dataset: bool, run_root: str | None) -> dict[str, Any]:
    """Scores of a run on `test`, `val` or `train`; they are also written to the run's folder, `file` names where.

    cfg: a checked config, whose output_dir, machine and dataset are used;  dataset: whether to test on cfg's dataset,
    otherwise on the run's own;  run_root: the folder of the run's own images, None = the remembered or the
    usual place.
    Raises ConfigError and DataError as attnlab.evaluate says.
    """
    folder = find_run(run, cfg["output_dir"])
    record, values, machine = read_valid_record(folder), read_config(folder), cfg["machine"]
    device, precision = hardware.one_device(machine), hardware.precision_of(record, machine)
    hardware.set_threads(machine)
    values["machine"] = machine
    own = science(values)["dataset"]
    other = dataset and science({**values, "dataset": cfg["dataset"]})["dataset"] != own
    data = _own_data(folder, record, values, cfg["dataset"], other, run_root)
    if other:
        own_data = data
        data = _other_data(folder.name, values, cfg["dataset"], split, data.preprocess)
        if line := classes_differ(values["dataset"], own_data.names, cfg["dataset"], data.names):
            print_once(line)
    loader = data.evaluation_dataloader(split)
    if not len(loader):
        raise ConfigError(
            f"wrong value split={split}; run {folder.name} holds no images out, recipe.validation.images=0"
        )
    net = load(folder.name, folder.parent)
    if machine["channels_last"]:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if hardware.compiles(machine):
        net.compile()
    classifier = Classifier(net, classes=values["dataset"]["classes"])
    # Some datasets normalise their images here. With a bare loader Lightning calls the module's hook, not the data's.
    classifier.on_after_batch_transfer = data.on_after_batch_transfer  # type: ignore[method-assign]
    trainer = _trainer(machine, device, precision)
    found = trainer.test(classifier, dataloaders=loader, verbose=False)[0]
    scores: dict[str, Any] = {name.split("/")[1]: round(float(value), 6) for name, value in found.items()}
    part = science({**values, "dataset": cfg["dataset"] if other else values["dataset"]})["dataset"]
    scores |= {
        "run": folder.name, "record": record["checksum"], "split": split, "dataset": part, "data_hash": data.data_hash,
        "precision": precision, "device": hardware.device_name(trainer.strategy.root_device),
    }  # fmt: skip
    target = folder / "evaluations" / f"{digest([part, split, data.data_hash, precision])}.json"
    target.parent.mkdir(exist_ok=True)
    write_json(target, scores)
    return scores | {"file": str(target)}


def _trainer(machine: Mapping[str, Any], device: int, precision: str) -> pl.Trainer:
    """A Trainer that only tests, on one device, and writes nothing."""
    quiet()
    kind = hardware.accelerator(machine)
    return pl.Trainer(
        accelerator=kind,
        devices=1 if kind == "cpu" else [device],
        precision=precision,  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _own_data(
    folder: Path,
    record: Record,
    values: Mapping[str, Any],
    composed: Mapping[str, Any],
    other: bool,
    run_root: str | None,
) -> Any:
    """The run's own data module, set up: it also knows how images are normalised. Raises if the images differ."""
    data = make_datamodule(
        {**values, "dataset": _own_dataset(values, composed, other, run_root, remembered_root(folder))}
    )
    root_key = "run.root" if other else "dataset.root"
    try:
        data.setup()
    except DataError as error:
        raise DataError(str(error).replace("dataset.root", root_key)) from error
    check_images(folder.name, data, record, root_key)
    return data


def _other_data(run: str, values: Mapping[str, Any], dataset: Mapping[str, Any], split: str, preprocess: Any) -> Any:
    """Another dataset's data module, set up, with the normalisation of the run's training images."""
    classes, expected = dataset["classes"], values["dataset"]["classes"]
    if classes != expected:
        raise ConfigError(f"wrong value dataset.classes={classes}; allowed is {expected}, as in run {run}")
    recipe = values["recipe"]
    if split != "val":  # test and train then are all images: the run held out none of this dataset
        recipe = recipe | {"validation": {"images": 0, "order": "seed"}}
    data = make_datamodule({**values, "dataset": dataset, "recipe": recipe})
    data.setup()
    data.preprocess = preprocess
    for note in data.notes:
        print_once(note)
    return data


def classes_differ(
    own: Mapping[str, Any], own_names: Sequence[str] | None, other: Mapping[str, Any], other_names: Sequence[str] | None
) -> str | None:
    """A warning, where the classes of another dataset are not known to be those of the run; else None.

    own, other: the dataset sections of the two configs;  own_names, other_names: of their classes, None if not known.
    """
    own_names, other_names = own_names or class_names({"dataset": own}), other_names or class_names({"dataset": other})
    what, run = (name_of("dataset", node).split()[0] for node in (other, own))
    if own_names and other_names:
        pairs = enumerate(zip(own_names, other_names, strict=False))
        differ = next(((number, one, here) for number, (one, here) in pairs if one != here), None)
        return differ and (
            f"warning: the classes of dataset={what} are not the run's: class {differ[0]} is {differ[2]} here, "
            f"{differ[1]} in the run; an image counts as right if the numbers agree"
        )
    if own["_target_"] == other["_target_"]:
        return None
    return (
        f"warning: dataset={what} is of another kind than the run's, {run}, and its classes may be others; an image "
        "counts as right if the numbers of the classes agree"
    )


def _own_dataset(
    values: Mapping[str, Any], composed: Mapping[str, Any], other: bool, run_root: str | None, remembered: str | None
) -> dict[str, Any]:
    """The config of the run's own dataset, with the folders of its images on this machine.

    They are those of `composed`, the composed dataset, if it has the same class; else run_root; else the folder that
    the run has remembered; else the usual place.
    Raises ConfigError if none is known.
    """
    if not other and run_root is None and composed["_target_"] == values["dataset"]["_target_"]:
        return values["dataset"] | {name: composed[name] for name in ("root", "cache") if name in composed}
    run_root = remembered if run_root is None else run_root
    name = name_of("dataset", values["dataset"], values).split()[0]
    if name not in choices("dataset"):  # from another package, whose usual place is not known
        return values["dataset"] | ({"root": run_root} if run_root is not None else {})
    usual = compose_file("run", [f"dataset={name}"]).dataset
    places = {"cache": usual.cache} if "cache" in usual else {}
    if "root" in usual.keys():  # noqa: SIM118 - a missing value (???) is listed by keys() but not found by `in`
        if run_root is None and OmegaConf.is_missing(usual, "root"):
            raise ConfigError(f"missing key run.root; allowed is the folder of the run's own images (dataset={name})")
        places["root"] = run_root if run_root is not None else usual.root
    elif run_root is not None:
        raise ConfigError(f"unknown key run.root; dataset={name}, on which the run was trained, has no folder")
    return values["dataset"] | places
