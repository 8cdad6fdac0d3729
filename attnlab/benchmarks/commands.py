"""The commands of attnlab.bench: parse the arguments of one command, run it, print or write what it found."""

import csv
import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from attnlab.benchmarks.zoo import COLUMNS, markdown, show, zoo
from attnlab.configuration.schema import KEYS
from attnlab.errors import ConfigError

if TYPE_CHECKING:  # these modules import torch, which the menu's errors and --help do not need
    from attnlab.benchmarks.options import BenchOptions
    from attnlab.benchmarks.report import Report

#: command -> its own keys, besides json and repeats; the command COMMAND is attnlab.benchmarks.COMMAND.COMMAND
COMMANDS: dict[str, tuple[str, ...]] = {
    "gates": ("shapes",), "step": ("compiled",), "data": (), "overhead": (), "roofline": ("shapes",),
    "latency": ("batches", "engines"),
}  # fmt: skip


def read_arguments(
    command: str, arguments: Sequence[str], keys: Sequence[str] | None = None
) -> "tuple[BenchOptions, Path | None]":
    """(the parsed arguments, the file of `json=` or None) of a command. Raises ConfigError for an unknown key.

    keys: the command's own keys; None = those of COMMANDS.
    """
    from attnlab.benchmarks.options import BenchOptions

    names = (*(COMMANDS[command] if keys is None else keys), "json", "repeats")
    own: dict[str, str] = {}
    overrides, attentions = [], []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key in names and equals:
            own[key] = value
        elif key == "attention" and equals:
            attentions += value.split(",")
        elif not equals or key.lstrip("+~").split(".")[0].split("/")[0] not in KEYS[""]:
            allowed = ", ".join(sorted({*names, *KEYS[""]}, key=lambda name: (len(name), name)))
            raise ConfigError(f"unknown key {key} of {command}; allowed is KEY=VALUE with {allowed}")
        else:
            overrides.append(argument)
    file, repeats = own.pop("json", None), own.pop("repeats", str(BenchOptions.repeats))
    if not repeats.isdecimal() or int(repeats) < 1:
        raise ConfigError(f"wrong value repeats={repeats}; allowed is an integer from 1")
    if file == "":
        raise ConfigError("wrong value json=; allowed is the name of a file")
    return BenchOptions(tuple(overrides), tuple(attentions), int(repeats), own), Path(file) if file else None


def measure(command: str, arguments: Sequence[str]) -> "tuple[Report, Path]":
    """Run one of COMMANDS and write its report; return the report and its file. Raises ConfigError."""
    from attnlab.benchmarks.report import write_report

    options, path = read_arguments(command, arguments)
    path = path or Path(options.values()["output_dir"]) / "bench" / f"{command}.json"
    bench: Callable[[BenchOptions], Report] = getattr(import_module(f"attnlab.benchmarks.{command}"), command)
    report = bench(options)
    write_report(report, path)
    return report, path


def gpu_bars(arguments: Sequence[str]) -> None:
    """Run the checks and bars of a GPU, print them and write them as JSON. Raises ConfigError."""
    from attnlab.benchmarks.gpu import OWN, gpu
    from attnlab.benchmarks.gpu_table import show
    from attnlab.records.record import write_json

    options, path = read_arguments("gpu", arguments, tuple(OWN))
    path = path or Path(options.values()["output_dir"]) / "bench" / "gpu.json"
    found = gpu(options)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    show(found)
    print(f"written to {path}")


def show_again(arguments: Sequence[str]) -> None:
    """Print the tables of report files. Raises ConfigError for a file that is not a report."""
    from attnlab.benchmarks import gpu_table, report

    layout, files = _own_key("format", "table", arguments)
    _check_format(layout, "table", "markdown")
    if not files:
        raise ConfigError("show: no file is named; an example is results/bench/gates.json")
    for name in files:
        try:
            content = json.loads(Path(name).read_text())
            if content["command"] == "gpu":
                print(gpu_table.markdown(content)) if layout == "markdown" else gpu_table.show(content)
                continue
            found = report.read_report(Path(name))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"not a file that attnlab.bench wrote: {name}") from error
        print(report.markdown(found)) if layout == "markdown" else report.show(found)


def same_runs(arguments: Sequence[str]) -> None:
    """Print how the errors of the runs in two folders differ. Raises ConfigError."""
    from attnlab.benchmarks import compare_runs
    from attnlab.records.record import write_json

    file, folders = _own_key("json", "", arguments)
    if len(folders) != 2:
        raise ConfigError(f"same: {len(folders)} folders are named; allowed are two, as outputs/float32 outputs/bf16")
    found = compare_runs.same(*folders)
    print(compare_runs.markdown(found))
    if file:
        write_json(Path(file), found)


def menu(arguments: Sequence[str]) -> None:
    """Print the menu of attentions. Raises ConfigError."""
    layout, overrides = _own_key("format", "table", arguments)
    _check_format(layout, "table", "csv", "markdown")
    rows = zoo(overrides)
    if layout == "csv":
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    elif layout == "markdown":
        print(markdown(rows))
    else:
        model = " ".join(o for o in overrides if not o.startswith("attention=")) or "model=resnet20"
        show(rows, f"attentions, and what they add to {model}")


def _own_key(key: str, default: str, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """(the value of the first KEY=VALUE, the arguments without it)."""
    value = next((a.partition("=")[2] for a in arguments if a.startswith(f"{key}=")), default)
    return value, [a for a in arguments if not a.startswith(f"{key}=")]


def _check_format(layout: str, *allowed: str) -> None:
    if layout not in allowed:
        raise ConfigError(f"unknown choice format={layout}; allowed are {', '.join(sorted(allowed, key=len))}")
