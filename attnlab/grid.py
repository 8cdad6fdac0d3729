"""A table's declaration: rows x columns x seeds, each cell a list of overrides, and which of them an argument selects.

conf/table/NAME.yaml holds `table.rows` and `table.columns`, {label: [overrides]}, and `table.seeds`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hydra.core.override_parser.types import Glob, Override

from attnlab.compose import check, compose_file, plain
from attnlab.declaration import check_table, parse
from attnlab.digest import digest
from attnlab.errors import ConfigError
from attnlab.identity import SECTIONS, run_id, science

#: what makes a table, and no run of it, so that a job does not get it
OF_THE_TABLE = ("table", "source")


@dataclass(frozen=True)
class Cell:
    """One row in one column: what its runs, a seed each, have in common."""

    row: str
    column: str
    overrides: tuple[str, ...]
    config: dict[str, Any]

    def run_id(self, seed: int) -> str:
        return run_id(self.config | {"seed": seed})

    @cached_property
    def start(self) -> str:
        """What two cells share for which equal seeds mean equal backbone weights, images and order."""
        mine = science(self.config)
        return digest([mine[section] for section in ("dataset", "model", "recipe")] + [mine.get("start_from")])


@dataclass(frozen=True)
class Grid:
    """A declared table, composed: the cells that the arguments select.

    changed: the arguments by which the runs are not those of the declaration, "not the protocol";
    left: the arguments that every run of the table gets.
    """

    name: str
    table: dict[str, Any]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    changed: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.column for cell in self.cells))


def read_grid(arguments: Sequence[str]) -> Grid:
    """The grid that `table=NAME` and further arguments, as typed, declare.

    Raises ConfigError for what makes no table, naming the key, the value and what is allowed.
    """
    given = parse(arguments, "the command line")
    names = [item.value() for item in given if item.key_or_group == "table"]
    if len(names) != 1 or not isinstance(names[0], str):
        raise ConfigError("table: one table at a time, table=NAME")
    for item in given:
        if item.key_or_group == "experiment":
            text = f"experiment={item.get_value_element_as_str()} with table={names[0]}"
            raise ConfigError(f"{text}: a table says itself what it runs; leave one of them out")
    name, own = names[0], [a for a, item in zip(arguments, given, strict=True) if _root(item) in OF_THE_TABLE]
    own = [argument for argument in own if not argument.startswith("source=")]
    table = check_table(name, plain(compose_file("run", [*own, *_valued(given, "output_dir")]))["table"])
    return _select(name, table, own, given, list(arguments))


def _valued(given: Sequence[Override], key: str) -> list[str]:
    return [f"{key}={item.get_value_element_as_str()}" for item in given if item.key_or_group == key]


def _root(item: Override) -> str:
    return item.key_or_group.split(".")[0]


def _select(name: str, table: dict[str, Any], own: list[str], given: Sequence[Override], arguments: list[str]) -> Grid:
    declared = {
        kind: {label: parse(overrides, f"table.{kind}.{label}") for label, overrides in table[kind].items()}
        for kind in ("rows", "columns")
    }
    pairs = []
    for row, own_overrides in declared["rows"].items():
        for column, others in declared["columns"].items():
            if both := {item.key_or_group for item in own_overrides} & {item.key_or_group for item in others}:
                raise ConfigError(f"table={name}: row {row} and column {column} both set {sorted(both)[0]}")
            values = {item.key_or_group: item.get_value_element_as_str() for item in (*own_overrides, *others)}
            pairs.append((row, column, values))
    set_keys = {key for _, _, values in pairs for key in values}
    seeds, left = list(table["seeds"]), []
    for argument, item in zip(arguments, given, strict=True):
        key = item.key_or_group
        if _root(item) in OF_THE_TABLE or key.startswith("hydra"):
            continue
        if key == "seed":
            there = [str(seed) for seed in table["seeds"]]
            wanted = _wanted(item, there, f"table={name} has seeds {', '.join(there)}; table.seeds=[...] sets others")
            seeds = [seed for seed in seeds if str(seed) in wanted]
        elif key in set_keys:
            there = sorted({values[key] for _, _, values in pairs if key in values})
            wanted = _wanted(item, there, f"table={name} has {', '.join(there)}")
            pairs = [pair for pair in pairs if pair[2].get(key) in wanted]
        elif item.is_sweep_override():
            raise ConfigError(f"{argument}: a table takes one value for what its rows and columns do not set")
        else:
            left.append(argument)
    if not pairs or not seeds:
        raise ConfigError(f"table={name}: no cell has all of {' '.join(arguments)}")
    cells = tuple(_cell(name, table, row, column, own, left) for row, column, _ in pairs)
    _check_distinct(name, table, cells)
    changed = tuple(a for a in left if _root(parse([a], "")[0]).split("/")[0] in SECTIONS)
    if changed and not any(_changes(own, cell, left) for cell in cells):
        changed = ()
    return Grid(name, table, cells, tuple(seeds), changed, tuple(left))


def _cell(name: str, table: Mapping[str, Any], row: str, column: str, own: Sequence[str], left: Sequence[str]) -> Cell:
    overrides = (*table["rows"][row], *table["columns"][column])
    try:
        return Cell(row, column, overrides, check(compose_file("run", [*own, *overrides, *left])))
    except ConfigError as error:
        where = f"row {row}" + (f", column {column}" if column else "")
        raise ConfigError(f"table={name}, {where}: {error}") from error


def _wanted(item: Override, there: Sequence[str], allowed: str) -> set[str]:
    """The values an argument names, of those that are there."""
    value = item.value()
    if isinstance(value, Glob):
        named = value.filter(list(there))
    elif item.is_sweep_override():
        named = [str(value) for value in item.sweep_string_iterator()]
    else:
        named = [item.get_value_element_as_str()]
    if unknown := [value for value in named if value not in there]:
        raise ConfigError(f"{item.key_or_group}={unknown[0]}: unknown row; {allowed}")
    return set(named)


def _changes(own: list[str], cell: Cell, left: list[str]) -> bool:
    """Whether they change what is trained: another folder of the same images does not."""
    paths = [argument for argument in left if argument.startswith("dataset.root=")]
    declared = check(compose_file("run", [*own, *cell.overrides, *paths]))
    return run_id(declared | {"seed": 0}) != cell.run_id(0)


def _check_distinct(name: str, table: Mapping[str, Any], cells: Sequence[Cell]) -> None:
    owner: dict[str, Cell] = {}
    for cell in cells:
        other = owner.setdefault(cell.run_id(0), cell)
        if other is cell or any({cell.row, other.row} <= set(group) for group in table["same"]):
            continue
        where = " and ".join(f"{c.row}{f' in {c.column}' if c.column else ''}" for c in (other, cell))
        raise ConfigError(f"table={name}: {where} are the same runs; if they are meant to be, table.same must say so")
