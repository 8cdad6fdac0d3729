"""What `run=ID` or `table=NAME` asks for, of commands that read finished runs: attnlab.judge and attnlab.look."""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnlab.configuration.compose import check, compose_file
from attnlab.configuration.overrides import parse
from attnlab.errors import ConfigError
from attnlab.records.record import Record, find_run, gather, read_valid_record
from attnlab.tables.grid import Grid, read_grid
from attnlab.tables.progress import progress_of

FOLDERS = ("dataset.root", "dataset.cache")


@dataclass(frozen=True)
class Asked:
    """output_dir, machine: of the config;  folders: overrides of where the images lie;  own: the command's own keys;
    records: the runs that are there, with a checkpoint, in the table's order;  grid: of the table, if one was named;
    absent: runs of the table without one."""

    output_dir: Path
    machine: Mapping[str, Any]
    folders: tuple[str, ...]
    own: Mapping[str, Any]
    records: tuple[Record, ...]
    grid: Grid | None = None
    absent: int = 0


def read_asked(arguments: Sequence[str], own: Collection[str]) -> Asked:
    """The meaning of the arguments. own: the keys that are the command's, besides run.

    Raises ConfigError for a run or a table that is not there, and for a key that means nothing here.
    """
    items = dict(zip(arguments, parse(arguments, "the command line"), strict=True))
    mine = {
        item.key_or_group: list(item.sweep_string_iterator()) if item.is_sweep_override() else item.value()
        for item in items.values()
        if item.key_or_group in own
    }
    rest = [argument for argument, item in items.items() if item.key_or_group not in (*own, "run")]
    runs = [argument.partition("=")[2] for argument, item in items.items() if item.key_or_group == "run"]
    folders = tuple(argument for argument in rest if argument.partition("=")[0] in FOLDERS)
    table = [argument for argument in rest if argument.startswith("table=")]
    if len(runs) + len(table) != 1:
        raise ConfigError("run=ID or table=NAME: one of them must be given")
    general = [a for a in rest if a.split("=")[0].split(".")[0] in ("machine", "output_dir")]
    cfg = check(compose_file("run", general))
    output_dir = Path(cfg["output_dir"])
    if runs:
        if unknown := [argument for argument in rest if argument not in (*general, *folders)]:
            allowed = ", ".join(("run", "table", *own, "output_dir", "machine", *FOLDERS))
            raise ConfigError(f"{unknown[0]}: allowed are {allowed} and keys below machine")
        folder = find_run(runs[0], output_dir)
        return Asked(output_dir, cfg["machine"], folders, mine, (read_valid_record(folder),))
    grid = read_grid(rest)
    found, left_out = gather(output_dir)
    progress = progress_of(grid, found)
    for reason in (line for line in left_out if any(name in line for name in grid.run_ids.values())):
        print(f"left out: {reason}", file=sys.stderr)
    there = [record for record in progress.done.values() if (output_dir / record["id"] / "best.ckpt").exists()]
    records = tuple({record["id"]: record for record in there}.values())
    if not records:
        raise ConfigError(f"table={grid.name}: none of its runs is in output_dir={output_dir} with its checkpoint")
    return Asked(
        output_dir, cfg["machine"], folders, mine, records, grid, len(set(grid.run_ids.values())) - len(records)
    )


def positive(own: Mapping[str, Any], key: str, default: int) -> int:
    """An integer from 1 of the command's own keys. Raises ConfigError."""
    value = own.get(key, default)
    if type(value) is not int or value < 1:
        raise ConfigError(f"{key}={value}: allowed is an integer from 1")
    return value


def boolean(own: Mapping[str, Any], key: str) -> bool:
    """true or false of the command's own keys, false by default. Raises ConfigError."""
    value = own.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{key}={value}: allowed are true, false")
    return value
