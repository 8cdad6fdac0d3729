"""Judge a finished run: does its attention look where it should, and does it do anything?

python -m attnlab.judge run=ID                          every part but the slow ones
python -m attnlab.judge run=ID parts=localisation,pgd   some
python -m attnlab.judge table=NAME [...]                every recorded run of a table; arguments as of attnlab.run

parts=all;  images=1000: test images, stratified;  force=true: judge anew;  transfer=DATASET transfer.root=DIR: a linear
classifier on the frozen features, on another dataset;  output_dir, dataset.root, machine.* as of attnlab.run.
Each score of a run is printed beside what it must be held against, and written to OUTPUT_DIR/<id>/judge.json, never
into the record. What was judged is not judged again, unless the images, the masks, the settings or the judge's code
are others now. A table shows a score as the metric judge/<score>.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.configuration.cli import command_line
from attnlab.configuration.compose import choices, compose_file, plain
from attnlab.errors import ConfigError
from attnlab.evaluation.chosen_runs import boolean, positive, read_asked
from attnlab.records.judgement import FILE, add_to_judgement, read_judgement, scores
from attnlab.records.record import believed, find_run
from attnlab.records.source_code import print_warnings

DEFAULT = ("localisation", "health", "calibration", "fgsm", "faithfulness", "sanity")
PARTS = (*DEFAULT, "background", "pgd", "corruptions")
IMAGES = 1000
OWN = ("parts", "images", "force", "transfer", "transfer.root")


def judge(
    run: str, output_dir: str | Path = "outputs", parts: Sequence[str] = (), *, images: int = IMAGES,
    force: bool = False, machine: Mapping[str, Any] | None = None, folders: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Judge one run, write OUTPUT_DIR/<id>/judge.json after each part, and return what it holds.

    parts: of PARTS, or transfer/DATASET; none named: those of DEFAULT, and of all PARTS those, that the dataset allows;
    machine: a config's machine, None = auto;  folders: of images, ["dataset.root=DIR", "transfer.root=DIR"].
    A part that still stands is not judged again: one of the same images, masks, settings and code of the
    judge (records/judgement_code.py).
    Raises ConfigError for a run that is not there, and for a part that it cannot be judged by.
    """
    for name in parts:
        kind, _, dataset = name.partition("/")
        if name not in PARTS and (kind != "transfer" or dataset not in choices("dataset")):
            raise ConfigError(f"parts={name}: no such part; allowed are {', '.join(PARTS)}, all")
    folder = find_run(run, output_dir)
    record = believed(folder)
    known = (read_judgement(folder, record) or {}).get("parts", {})
    from attnlab.evaluation.suite import judged

    machine = machine or plain(compose_file("run"))["machine"]
    wanted, lenient = list(dict.fromkeys(parts or DEFAULT)), set(parts) in (set(), set(PARTS))
    for name, part in judged(folder, wanted, known, images, machine, folders, force=force, lenient=lenient):
        add_to_judgement(folder, record, name, part)  # what is judged stays judged, whatever comes
    return read_judgement(folder, record) or {"run": folder.name, "parts": {}}


def asked_for(arguments: Sequence[str]) -> Iterator[tuple[dict[str, Any], Path]]:
    """(judgement, its file) of each run that the arguments name, as soon as it is judged."""
    asked = read_asked(arguments, OWN)
    named = asked.own.get("parts", ())
    parts = [str(part) for part in named] if isinstance(named, list) else [str(named)] if named else []
    parts = list(PARTS) if parts == ["all"] else parts
    if transfer := asked.own.get("transfer"):
        parts.append(f"transfer/{transfer}")
    root = asked.own.get("transfer.root")
    folders = (*asked.folders, *([f"transfer.root={root}"] if root is not None else []))
    images, force = positive(asked.own, "images", IMAGES), boolean(asked.own, "force")
    if asked.absent:
        print(f"{asked.absent} runs of the table are not in output_dir={asked.output_dir}", flush=True)
    for record in asked.records:
        found = judge(
            record["id"], asked.output_dir, parts, images=images, force=force, machine=asked.machine,
            folders=folders,
        )  # fmt: skip
        yield found, asked.output_dir / record["id"] / FILE


GATE_COLUMNS = {
    "mean": "mean", "sd": "sd", "sd_images": "sd over images", "entropy": "entropy", "saturated": "saturated",
    "class_share": "class share", "changed": "changed %", "error_change": "error change",
}  # fmt: skip


def brief(name: str) -> str:
    """A gate's name without what all of them have: backbone.stage2.0.at_branch.spatial -> stage2.0.spatial."""
    parts = [part for part in name.split(".") if part not in ("backbone", "stages", "at_branch", "net")]
    return ".".join(parts) or name


def show(judgement: Mapping[str, Any]) -> None:
    """Print a judgement to the terminal: each score beside what it is held against, and a line a gate."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120)
    drawn = Table(title=f"run {judgement['run']}", title_justify="left")
    for name in ("score", "value", "± se", "beside", "which is"):
        drawn.add_column(name, justify="left" if name in ("score", "which is") else "right")
    for name, one in scores(judgement).items():
        numbers = [_number(one[key]) for key in ("value", "se", "beside")]
        drawn.add_row(Text(name), *numbers, Text(one["meaning"]))
    console.print(drawn)
    seen = judgement["parts"].get("localisation", {}).get("details", {})
    if (of := seen.get("of", 0)) > (images := seen.get("images", 0)):
        text = f"localisation: on {images} of {of} images; the others have no mask with an object, or chose the gate"
        console.print(Text(text))
    gates = judgement["parts"].get("health", {}).get("details", {}).get("gates", {})
    if gates:
        drawn = Table(title="gates: their masks, and the test with each held still at its mean", title_justify="left")
        drawn.add_column("gate", no_wrap=True)
        for text in GATE_COLUMNS.values():
            drawn.add_column(text, justify="right")
        drawn.add_column("verdict", no_wrap=True)
        for name in sorted(gates, key=lambda name: name == "all"):  # all at once comes last
            numbers = [_number(gates[name].get(key)) for key in GATE_COLUMNS]
            drawn.add_row(Text(brief(name)), *numbers, gates[name]["verdict"])
        console.print(drawn)
    for name in judgement["parts"].get("sanity", {}).get("details", {}).get("survived", ()):
        console.print(Text(f"FAILS the sanity check: the map of {name} survives the randomisation of every layer"))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


@command_line(interrupted="interrupted; the same command goes on from here")
def main() -> None:
    """The command line."""
    arguments = sys.argv[1:]
    print_warnings()
    if {"-h", "--help"} & set(arguments) or not arguments:
        print(__doc__)
        return
    one = any(argument.startswith("run=") for argument in arguments)
    for found, path in asked_for(arguments):
        if one:
            show(found)
        print(f"{found['run']}: judged, {', '.join(found['parts'])}; written to {path}", flush=True)


if __name__ == "__main__":
    main()
