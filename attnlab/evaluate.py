"""Test a finished run on another dataset or split: `python -m attnlab.evaluate run=ID [dataset=cifar10] [split=val]`.

Images are normalised as the run's own training images were: run.root=DIR says where these lie, when another dataset is
named and they are not in the usual place. Overrides of dataset and machine are those of attnlab.run; the precision is
the run's own, unless machine.precision names another. The scores are printed and written to
OUTPUT_DIR/<id>/evaluations/, a file a dataset, split and precision, never into the record.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from attnlab.configuration.cli import command_line
from attnlab.configuration.compose import check, compose_file
from attnlab.errors import ConfigError, DataError
from attnlab.records.source_code import print_warnings

SPLITS = ("test", "val", "train")
OWN = ("run", "split", "run.root")


def evaluate(overrides: Sequence[str]) -> dict[str, Any]:
    """Scores of one run on one split: top-1 and top-5 error in percent, loss, calibration error.

    overrides: `run=ID`, `split=test|val|train`, `run.root=DIR`, `output_dir=DIR`, `dataset=...`, `dataset.KEY=...`,
    `machine=...`, `machine.KEY=...`. Raises ConfigError when the run, the split or the class counts do not fit, when
    the run's own images are not there, and for a machine that cannot be had.
    """
    if bare := [override for override in overrides if "=" not in override]:
        raise ConfigError(f"{bare[0]}: allowed is KEY=VALUE, as run=ID")
    own = dict(override.split("=", 1) for override in overrides if override.split("=", 1)[0] in OWN)
    rest = [override for override in overrides if override.split("=", 1)[0] not in OWN]
    for override in rest:
        key = override.split("=", 1)[0].split(".")[0]
        if key not in ("dataset", "machine", "output_dir"):
            raise ConfigError(f"{override}: allowed are {', '.join(OWN)}, output_dir, dataset, machine and keys below")
    split = own.get("split", "test")
    if split not in SPLITS:
        raise ConfigError(f"split={split}: allowed are {', '.join(SPLITS)}")
    asked = check(compose_file("run", rest))
    return _evaluate(own.get("run", ""), split, asked, _changes(rest, "dataset"), own.get("run.root"))


def _changes(overrides: Sequence[str], section: str) -> bool:
    keys = [override.split("=", 1)[0] for override in overrides]
    return any(key.split(".")[0] == section and key not in ("dataset.root", "dataset.cache") for key in keys)


def _evaluate(run: str, split: str, asked: dict[str, Any], other_dataset: bool, run_root: str | None) -> dict[str, Any]:
    import lightning.pytorch as pl
    import torch

    from attnlab.configuration.digest import digest
    from attnlab.configuration.identity import science
    from attnlab.data.build import make_datamodule
    from attnlab.evaluation.finished_run import check_images
    from attnlab.machine import hardware
    from attnlab.models.network import load
    from attnlab.records.record import believed, find_run, read_config, write_json
    from attnlab.records.run_folder import say
    from attnlab.training.classifier import Classifier
    from attnlab.training.lightning_noise import quiet

    folder = find_run(run, asked["output_dir"])
    record, values, machine = believed(folder), read_config(folder), asked["machine"]
    number, precision = hardware.one_device(machine), hardware.precision_of(record, machine)
    hardware.set_threads(machine)
    values["machine"] = machine
    own = science(values)["dataset"]  # the run's own, named in full because only then it has a root
    other_dataset = other_dataset and science({**values, "dataset": asked["dataset"]})["dataset"] != own
    trained_on = make_datamodule({**values, "dataset": _where(values, asked, other_dataset, run_root)})
    root = "run.root" if other_dataset else "dataset.root"
    try:
        trained_on.setup()
    except DataError as error:
        raise DataError(str(error).replace("dataset.root", root)) from error
    check_images(folder.name, trained_on, record, root)
    data = trained_on
    if other_dataset:
        classes, expected = asked["dataset"]["classes"], values["dataset"]["classes"]
        if classes != expected:
            raise ConfigError(
                f"dataset.classes={classes}: allowed is {expected}, what run {folder.name} was trained for"
            )
        data = make_datamodule({**values, "dataset": asked["dataset"], "recipe": _all_images(values["recipe"], split)})
        data.setup()
        data.preprocess = trained_on.preprocess
        for note in data.notes:
            say(note)
    quiet()
    kind = hardware.accelerator(machine)
    trainer = pl.Trainer(
        accelerator=kind,
        devices=1 if kind == "cpu" else [number],
        precision=precision,  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    net = load(folder.name, folder.parent)
    if machine["channels_last"]:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if hardware.compiles(machine):
        net.compile()
    classifier = Classifier(net, classes=values["dataset"]["classes"])
    loader = data.evaluation_dataloader(split)
    if not len(loader):
        raise ConfigError(f"split={split}: run {folder.name} held no images out (recipe.validation.images=0)")
    # What is read image by image is normalised here; Lightning asks the module, where it is given loaders alone.
    classifier.on_after_batch_transfer = data.on_after_batch_transfer  # type: ignore[method-assign]
    found = trainer.test(classifier, dataloaders=loader, verbose=False)[0]
    scores: dict[str, Any] = {name.split("/")[1]: round(float(value), 6) for name, value in found.items()}
    part = science({**values, "dataset": asked["dataset"] if other_dataset else values["dataset"]})["dataset"]
    scores |= {
        "run": folder.name, "record": record["checksum"], "split": split, "dataset": part, "data_hash": data.data_hash,
        "precision": precision, "device": hardware.device_name(trainer.strategy.root_device),
    }  # fmt: skip
    target = folder / "evaluations" / f"{digest([part, split, data.data_hash, precision])}.json"
    target.parent.mkdir(exist_ok=True)
    write_json(target, scores)
    return scores | {"file": str(target)}


def _where(values: dict[str, Any], asked: dict[str, Any], other_dataset: bool, run_root: str | None) -> dict[str, Any]:
    """The run's own dataset with the folders where it lies: as asked where it is the one asked for, else run.root, or
    the usual place. Raises ConfigError where there is none."""
    from attnlab.configuration.compose import choices
    from attnlab.configuration.identity import name_of

    if not other_dataset and run_root is None:
        there = asked["dataset"]
        if there["_target_"] == values["dataset"]["_target_"]:
            return values["dataset"] | {name: there[name] for name in ("root", "cache") if name in there}
    name = name_of("dataset", values["dataset"], values).split()[0]
    if name not in choices("dataset"):  # of an own package
        return values["dataset"] | ({"root": run_root} if run_root is not None else {})
    usual = compose_file("run", [f"dataset={name}"]).dataset
    places = {"cache": usual.cache} if "cache" in usual else {}
    if "root" in usual.keys():  # noqa: SIM118 - what is missing, ???, is a key and not "in" it
        if run_root is None and OmegaConf.is_missing(usual, "root"):
            raise ConfigError(f"run.root: must be given, the folder of the images that the run saw (dataset={name})")
        places["root"] = run_root if run_root is not None else usual.root
    elif run_root is not None:
        raise ConfigError(f"run.root={run_root}: dataset={name} has no folder")
    return values["dataset"] | places


def _all_images(recipe: dict[str, Any], split: str) -> dict[str, Any]:
    """On another dataset nothing was held out, unless its validation draw is asked for."""
    return recipe if split == "val" else recipe | {"validation": {"images": 0, "order": "seed"}}


@command_line()
def main() -> None:
    """The command line."""
    if {"-h", "--help"} & set(sys.argv[1:]) or len(sys.argv) == 1:
        print(__doc__)
        return
    print_warnings()
    scores = evaluate(sys.argv[1:])
    for name in ("top1_error", "top5_error", "loss", "calibration_error"):
        print(f"{name:18}{scores[name]:.4f}")
    where = f"split {scores['split']}, {scores['precision']}"
    print(f"run {scores['run']}, {where}, written to {Path(scores['file'])}")


if __name__ == "__main__":
    main()
