"""Test a finished run on another dataset or split: `python -m attnlab.evaluate run=ID [dataset=cifar10] [split=val]`.

run: an id or its first characters, last, a printed name, or values: run="attention=se seed=0".
Without dataset=NAME, keys as dataset.root=DIR are those of the run's own dataset.
Images are normalised as the run's training images were. run.root=DIR names the folder of these images, if another
dataset is tested and they are not in the usual place. Overrides of dataset and machine: as of attnlab.run. The
precision is the run's own, unless machine.precision names another one. The scores are printed and written to
OUTPUT_DIR/<id>/evaluations/, one file per dataset, split and precision; the run's record is not changed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnlab.configuration.cli import command_line
from attnlab.configuration.compose import check, compose_file
from attnlab.errors import ConfigError
from attnlab.evaluation.chosen_runs import own_dataset
from attnlab.records.run_folder import title_in
from attnlab.records.source_code import print_warnings
from attnlab.tables.named_run import named_run

SPLITS = ("val", "test", "train")
OWN = ("run", "split", "run.root")


def evaluate(overrides: Sequence[str]) -> dict[str, Any]:
    """Scores of one run on one split: top-1 and top-5 error in percent, loss, calibration error.

    overrides: `run=ID`, `split=test|val|train`, `run.root=DIR`, `output_dir=DIR`, `dataset=...`, `dataset.KEY=...`,
    `machine=...`, `machine.KEY=...`. Raises ConfigError if the run, the split or the number of classes does not fit, if
    the run's images are not found, and for a machine that cannot be used.
    """
    if bare := [override for override in overrides if "=" not in override]:
        raise ConfigError(f"wrong argument {bare[0]}; allowed is KEY=VALUE, as run=ID")
    values = dict(override.split("=", 1) for override in overrides)
    rest = [override for override in overrides if override.split("=", 1)[0] not in OWN]
    sections = {override: override.split("=", 1)[0].split(".")[0] for override in rest}
    allowed = ", ".join(sorted((*OWN, "output_dir", "dataset", "machine"), key=len))
    if unknown := [o for o, section in sections.items() if section not in ("dataset", "machine", "output_dir")]:
        raise ConfigError(f"unknown key {unknown[0].split('=', 1)[0]}; allowed are {allowed}")
    if (split := values.get("split", "test")) not in SPLITS:
        raise ConfigError(f"unknown choice split={split}; allowed are {', '.join(SPLITS)}")
    of_dataset = [override for override in rest if sections[override] == "dataset"]
    cfg = check(compose_file("run", [override for override in rest if override not in of_dataset]))
    run = named_run(values.get("run", ""), cfg["output_dir"])
    if of_dataset:
        named = any(override.startswith("dataset=") for override in of_dataset)
        cfg = check(compose_file("run", [*([] if named else own_dataset(run, cfg["output_dir"])), *rest]))
    places = ("dataset.root", "dataset.cache")  # where the same images lie; they choose no other dataset
    names_dataset = any(o.split("=", 1)[0] not in places and section == "dataset" for o, section in sections.items())
    from attnlab.training.retest import retest  # imports torch and Lightning; the checks above need neither

    return retest(run, split, cfg, dataset=names_dataset, run_root=values.get("run.root"))


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
    path = Path(scores["file"])
    print(f"{title_in(path.parents[1])}, {where}, written to {path}")


if __name__ == "__main__":
    main()
