"""What things cost, on this machine: python -m attnlab.bench COMMAND [overrides of attnlab.run] [own keys]

zoo         the menu of attentions: kind, place, parameters, MACs, source          format=table|csv
gates       a gate alone, forward and backward, against timm's and our plain form  attention=se,cbam shapes=128x16x32x32
step        a training step against float32, NCHW, eager; what an attention adds   attention=none,se,cbam  compiled=true
data        augmented images into the step against torchvision in a DataLoader
overhead    a step of Lightning and our classifier against a bare PyTorch loop
roofline    a gate against the time its bytes take to move                         attention=se,cbam shapes=128x16x32x32
same        are runs that were done twice the same within seed noise?           OUTPUT_DIR OTHER  json=FILE
show        the tables of kept JSON files, again                                  FILE ... format=markdown

repeats=N: rounds (11), in each of which all sides are timed, turn by turn;  json=FILE: where everything
measured is written (OUTPUT_DIR/bench/COMMAND.json). The first column is the ratio, median and quartiles over the
rounds; then the seconds of both sides.
machine.threads=1, machine.precision=32-true, model=resnet56 ... mean what they mean to attnlab.run.
"""

import csv
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from attnlab.benchmarks.zoo import COLUMNS, show, zoo
from attnlab.configuration.cli import command_line
from attnlab.configuration.schema import KEYS
from attnlab.errors import ConfigError

if TYPE_CHECKING:
    from attnlab.benchmarks.options import Asked
    from attnlab.benchmarks.report import Report

#: command -> its own keys, besides json and repeats
COMMANDS: dict[str, tuple[str, ...]] = {
    "gates": ("shapes",), "step": ("compiled",), "data": (), "overhead": (), "roofline": ("shapes",),
}  # fmt: skip
FORMATS = ("table", "csv")

__all__ = ["COLUMNS", "COMMANDS", "measure", "read_arguments", "zoo"]


def read_arguments(command: str, arguments: Sequence[str]) -> "tuple[Asked, Path | None]":
    """(what is asked for, the file of `json=`). Raises ConfigError for a key that nobody knows."""
    from attnlab.benchmarks.options import Asked

    names = (*COMMANDS[command], "json", "repeats")
    own: dict[str, str] = {}
    overrides, attentions = [], []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key in names and equals:
            own[key] = value
        elif key == "attention" and equals:
            attentions += value.split(",")
        elif not equals or key.lstrip("+~").split(".")[0].split("/")[0] not in KEYS[""]:
            keys = ", ".join(sorted({*names, *KEYS[""]}))
            raise ConfigError(f"{argument}: no such key of {command}; allowed are KEY=VALUE with {keys}")
        else:
            overrides.append(argument)
    file, repeats = own.pop("json", None), own.pop("repeats", str(Asked.repeats))
    if not repeats.isdecimal() or int(repeats) < 1:
        raise ConfigError(f"repeats={repeats}: allowed is an integer from 1")
    if file == "":
        raise ConfigError("json=: allowed is a file")
    return Asked(tuple(overrides), tuple(attentions), int(repeats), own), Path(file) if file else None


def measure(command: str, arguments: Sequence[str]) -> "tuple[Report, Path]":
    """Run a benchmark and write its JSON. Raises ConfigError."""
    from attnlab.benchmarks.report import write_report

    asked, path = read_arguments(command, arguments)
    path = path or Path(asked.values()["output_dir"]) / "bench" / f"{command}.json"
    bench: Callable[[Asked], Report] = getattr(import_module(f"attnlab.benchmarks.{command}"), command)
    report = bench(asked)
    write_report(report, path)
    return report, path


def show_again(arguments: Sequence[str]) -> None:
    """Print kept reports. Raises ConfigError for a file that is none."""
    from attnlab.benchmarks import report

    layout = next((a.partition("=")[2] for a in arguments if a.startswith("format=")), "table")
    files = [a for a in arguments if not a.startswith("format=")]
    if layout not in ("table", "markdown"):
        raise ConfigError(f"format={layout}: allowed are table, markdown")
    if not files:
        raise ConfigError("show: which files? e.g. results/bench/gates.json")
    for name in files:
        try:
            found = report.read_report(Path(name))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{name}: not a file that attnlab.bench wrote") from error
        print(report.markdown(found)) if layout == "markdown" else report.show(found)


def same_runs(arguments: Sequence[str]) -> None:
    """Print how runs of two folders differ. Raises ConfigError."""
    from attnlab.benchmarks.compare_runs import markdown, same
    from attnlab.records.record import write_json

    file = next((a.partition("=")[2] for a in arguments if a.startswith("json=")), None)
    folders = [a for a in arguments if not a.startswith("json=")]
    if len(folders) != 2:
        raise ConfigError("same: which two folders of runs? e.g. outputs/float32 outputs/bf16")
    found = same(*folders)
    print(markdown(found))
    if file:
        write_json(Path(file), found)


def menu(arguments: Sequence[str]) -> None:
    """Print the menu of attentions. Raises ConfigError."""
    layout = next((a.partition("=")[2] for a in arguments if a.startswith("format=")), "table")
    overrides = [a for a in arguments if not a.startswith("format=")]
    if layout not in FORMATS:
        raise ConfigError(f"format={layout}: allowed are {', '.join(FORMATS)}")
    rows = zoo(overrides)
    if layout == "csv":
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        model = " ".join(o for o in overrides if not o.startswith("attention=")) or "model=resnet20"
        show(rows, f"attentions, and what they add to {model}")


@command_line()
def main() -> None:
    """The command line."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments) or not arguments:
        print(__doc__)
        return
    command, *rest = arguments
    if command == "zoo":
        menu(rest)
    elif command == "show":
        show_again(rest)
    elif command == "same":
        same_runs(rest)
    elif command not in COMMANDS:
        raise ConfigError(f"{command}: no such benchmark; allowed are zoo, {', '.join(COMMANDS)}, same, show")
    else:
        from attnlab.benchmarks import report

        found, path = measure(command, rest)
        report.show(found)
        print(f"written to {path}")


if __name__ == "__main__":
    main()
