"""Test a finished run on another dataset or split: `python -m attnlab.evaluate run=ID [dataset=cifar10] [split=val]`.

Images are normalised as the run's own training images were. Overrides of dataset and machine are those of attnlab.run.
The scores are printed and written to OUTPUT_DIR/<id>/evaluations/, never into the record.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnlab.compose import compose_file, plain
from attnlab.errors import AttnlabError, ConfigError
from attnlab.source_code import print_warnings

SPLITS = ("test", "val", "train")


def evaluate(overrides: Sequence[str]) -> dict[str, Any]:
    """Scores of one run on one split: top-1 and top-5 error in percent, loss, calibration error.

    overrides: `run=ID`, `split=test|val|train`, `output_dir=DIR`, `dataset=...`, `dataset.KEY=...`,
    `machine=...`, `machine.KEY=...`. Raises ConfigError when the run, the split or the class counts do not fit.
    """
    if bare := [override for override in overrides if "=" not in override]:
        raise ConfigError(f"{bare[0]}: allowed is KEY=VALUE, as run=ID")
    own = dict(override.split("=", 1) for override in overrides if override.split("=", 1)[0] in ("run", "split"))
    rest = [override for override in overrides if override.split("=", 1)[0] not in ("run", "split")]
    for override in rest:
        key = override.split("=", 1)[0].split(".")[0]
        if key not in ("dataset", "machine", "output_dir"):
            raise ConfigError(f"{override}: allowed are run, split, output_dir, dataset, machine and keys below them")
    split = own.get("split", "test")
    if split not in SPLITS:
        raise ConfigError(f"split={split}: allowed are {', '.join(SPLITS)}")
    asked = plain(compose_file("run", rest))
    return _evaluate(own.get("run", ""), split, asked, _changes(rest, "dataset"))


def _changes(overrides: Sequence[str], section: str) -> bool:
    keys = [override.split("=", 1)[0] for override in overrides]
    return any(key.split(".")[0] == section and key not in ("dataset.root", "dataset.cache") for key in keys)


def _evaluate(run: str, split: str, asked: dict[str, Any], other_dataset: bool) -> dict[str, Any]:
    import lightning.pytorch as pl

    from attnlab import machine
    from attnlab.assemble import load
    from attnlab.classifier import Classifier
    from attnlab.digest import digest
    from attnlab.folders import say
    from attnlab.identity import science
    from attnlab.parts import datamodule
    from attnlab.quiet import quiet
    from attnlab.results import find_run, read_config, read_record, write_json

    folder = find_run(run, asked["output_dir"])
    values = read_config(folder)
    places = {name: asked["dataset"][name] for name in ("root", "cache") if name in asked["dataset"]}
    values["machine"] = asked["machine"]
    own = science(values)["dataset"]  # the run's own, named in full because only then it has a root
    other_dataset = other_dataset and science({**values, "dataset": asked["dataset"]})["dataset"] != own
    trained_on = datamodule({**values, "dataset": values["dataset"] | ({} if other_dataset else places)})
    trained_on.setup()
    record = read_record(folder, key="run")
    if record is None or trained_on.data_hash != record["data_hash"]:
        raise ConfigError(
            f"run={folder.name}: saw other images (data_hash {record and record['data_hash']}) than are there "
            f"({trained_on.data_hash}); dataset.root says where they lie"
        )
    data = trained_on
    if other_dataset:
        classes, expected = asked["dataset"]["classes"], values["dataset"]["classes"]
        if classes != expected:
            raise ConfigError(
                f"dataset.classes={classes}: allowed is {expected}, what run {folder.name} was trained for"
            )
        data = datamodule({**values, "dataset": asked["dataset"], "recipe": _all_images(values["recipe"], split)})
        data.setup()
        data.preprocess = trained_on.preprocess
        for note in data.notes:
            say(note)
    quiet()
    hardware = asked["machine"]
    trainer = pl.Trainer(
        accelerator=machine.accelerator(hardware),
        devices=1,
        precision=machine.precision(hardware),  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    classifier = Classifier(load(folder.name, folder.parent), classes=values["dataset"]["classes"])
    loader = data.evaluation_dataloader(split)
    if not len(loader):
        raise ConfigError(f"split={split}: run {folder.name} held no images out (recipe.validation.images=0)")
    # What is read image by image is normalised here; Lightning asks the module, where it is given loaders alone.
    classifier.on_after_batch_transfer = data.on_after_batch_transfer  # type: ignore[method-assign]
    found = trainer.test(classifier, dataloaders=loader, verbose=False)[0]
    scores: dict[str, Any] = {name.split("/")[1]: round(float(value), 6) for name, value in found.items()}
    part = science({**values, "dataset": asked["dataset"] if other_dataset else values["dataset"]})["dataset"]
    scores |= {"run": folder.name, "split": split, "dataset": part, "data_hash": data.data_hash}
    target = folder / "evaluations" / f"{digest([part, split])}.json"
    target.parent.mkdir(exist_ok=True)
    write_json(target, scores)
    return scores | {"file": str(target)}


def _all_images(recipe: dict[str, Any], split: str) -> dict[str, Any]:
    """On another dataset nothing was held out, unless its validation draw is asked for."""
    return recipe if split == "val" else recipe | {"validation": {"images": 0, "order": "seed"}}


def main() -> None:
    """The command line."""
    if {"-h", "--help"} & set(sys.argv[1:]) or len(sys.argv) == 1:
        print(__doc__)
        return
    print_warnings()
    try:
        scores = evaluate(sys.argv[1:])
    except AttnlabError as error:
        print(f"attnlab: {error}", file=sys.stderr)
        sys.exit(1)
    for name in ("top1_error", "top5_error", "loss", "calibration_error"):
        print(f"{name:18}{scores[name]:.4f}")
    print(f"run {scores['run']}, split {scores['split']}, written to {Path(scores['file'])}")


if __name__ == "__main__":
    main()
