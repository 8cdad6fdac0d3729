"""The finished runs that `run=...` or `table=NAME` chooses, for the commands attnlab.judge and attnlab.look."""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, QuotedString

from attnlab.configuration.compose import check, compose_file
from attnlab.configuration.groups import choices
from attnlab.configuration.messages import as_typed
from attnlab.configuration.names import departures, name_of, read_choice
from attnlab.configuration.overrides import parse
from attnlab.errors import ConfigError
from attnlab.machine import cpu, gpus
from attnlab.records.record import Record, gather, read_config, read_valid_record
from attnlab.tables.grid import Grid, read_grid
from attnlab.tables.named_run import named_run
from attnlab.tables.progress import progress_of

FOLDERS = ("dataset.root", "dataset.cache")


@dataclass(frozen=True)
class ChosenRuns:
    """The runs that a command line chooses, and the settings for reading them.

    output_dir, machine: of the composed config;  folders: overrides that name image folders;  own: {key: value} of the
    command's own keys;  records: the finished runs that have a checkpoint, in the table's order;  grid: the table's
    grid, None for a single run;  missing: number of the table's runs without a record or without a checkpoint.
    """

    output_dir: Path
    machine: Mapping[str, Any]
    folders: tuple[str, ...]
    own: Mapping[str, Any]
    records: tuple[Record, ...]
    grid: Grid | None = None
    missing: int = 0


def choose_runs(arguments: Sequence[str], own: Collection[str]) -> ChosenRuns:
    """Parse a command line and find its runs. own: the command's own keys, besides run and table.

    Raises ConfigError for a run or a table that is not found, and for a key that the command does not have.
    """
    runs = [argument.partition("=")[2] for argument in arguments if argument.startswith("run=")]
    # Hydra cannot parse all values of run=
    others = [argument for argument in arguments if not argument.startswith("run=")]
    items = dict(zip(others, parse(others, "the command line"), strict=True))
    mine = {item.key_or_group: _value(item) for item in items.values() if item.key_or_group in own}
    rest = [argument for argument, item in items.items() if item.key_or_group not in own]
    folders = tuple(argument for argument in rest if argument.partition("=")[0] in FOLDERS)
    table = [argument for argument in rest if argument.startswith("table=")]
    if len(runs) + len(table) != 1:
        raise ConfigError(f"{len(runs) + len(table)} runs or tables are named; allowed is one, run=ID or table=NAME")
    general = [a for a in rest if a.split("=")[0].split(".")[0] in ("machine", "output_dir")]
    cfg = check(compose_file("run", general))
    output_dir = Path(cfg["output_dir"])
    if runs:
        if unknown := [argument for argument in rest if argument not in (*general, *folders)]:
            allowed = ", ".join(sorted(("run", "table", *own, "output_dir", "machine", *FOLDERS), key=len))
            message = f"unknown key {unknown[0].partition('=')[0]}; allowed are {allowed} and keys below machine"
            quotes = f'; values that name a run stand in quotes: run="{runs[0]} {unknown[0]}"' if "=" in runs[0] else ""
            raise ConfigError(message + quotes)
        folder = output_dir / named_run(runs[0], output_dir)
        return ChosenRuns(output_dir, cfg["machine"], folders, mine, (read_valid_record(folder),))
    grid = read_grid(rest)
    found, left_out = gather(output_dir)
    progress = progress_of(grid, found)
    for reason in (line for line in left_out if any(name in line for name in grid.run_ids.values())):
        print(f"left out: {reason}", file=sys.stderr)
    ready = [record for record in progress.done.values() if (output_dir / record["id"] / "best.ckpt").exists()]
    records = tuple({record["id"]: record for record in ready}.values())
    if not records:
        raise ConfigError(f"no run of table={grid.name} has a record and a checkpoint in output_dir={output_dir}")
    missing = len(set(grid.run_ids.values())) - len(records)
    return ChosenRuns(output_dir, cfg["machine"], folders, mine, records, grid, missing)


def share_machine(chosen: ChosenRuns, runs: int) -> tuple[int, dict[str, Any]]:
    """(how many of so many runs are evaluated at a time, each in its own process; the `machine` section of each).

    The key n_jobs of the command line decides. By default, or with null: on a CPU one for each core, or for each
    machine.threads cores, as memory permits; one at a time on a GPU, and if there are fewer runs, since one run on all
    cores then ends sooner. Raises ConfigError for an n_jobs that is no count.
    """
    machine = chosen.machine
    threads = machine["threads"] or 1
    if chosen.own.get("n_jobs") is not None:
        n_jobs = read_positive(chosen.own, "n_jobs", 1)
    else:
        on_cpu = machine["accelerator"] == "cpu" or (machine["accelerator"] == "auto" and not gpus.ids())
        n_jobs = cpu.jobs_at_a_time(threads) if on_cpu and runs >= cpu.cores() // threads else 1
    n_jobs = min(n_jobs, runs)
    return n_jobs, dict(machine) | ({"threads": threads} if n_jobs > 1 else {})


def _value(item: Override) -> Any:
    """The value of `key=a`; a list of the values of `key=a,b`, as they were typed."""
    if not item.is_sweep_override():
        return item.value()
    # not sweep_string_iterator, which puts a backslash before every space
    return [value.text if isinstance(value, QuotedString) else value for value in item.sweep_iterator()]


def read_positive(own: Mapping[str, Any], key: str, default: int) -> int:
    """The value of one of the command's own keys, an integer from 1. Raises ConfigError."""
    value = own.get(key, default)
    if type(value) is not int or value < 1:
        raise ConfigError(f"wrong value {key}={value}; allowed is an integer from 1")
    return value


def read_boolean(own: Mapping[str, Any], key: str) -> bool:
    """The value of one of the command's own keys, true or false; false by default. Raises ConfigError."""
    value = own.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"wrong value {key}={value}; allowed is true or false")
    return value


def own_dataset(run: str, output_dir: str | Path) -> list[str]:
    """The overrides that compose the dataset of a run: `dataset=folder`, `++dataset.image_size=16`.

    Empty for a dataset of another package, which attnlab.evaluate cannot compose.
    """
    values = read_config(Path(output_dir) / run)
    node = values["dataset"]
    choice = name_of("dataset", node, values).split()[0]
    if choice not in choices("dataset"):
        return []
    changed = departures("dataset", read_choice("dataset", choice), node, values)
    return [f"dataset={choice}", *(f"++dataset.{key}={as_typed(node.get(key))}" for key in changed)]
