"""A declared table as a grid: rows x columns x seeds, each cell a composed config, and the cells that arguments select.

conf/table/NAME.yaml holds `table.rows` and `table.columns`, {label: [overrides]}, and `table.seeds`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

from omegaconf import OmegaConf

from attnlab.configuration.compose import check, compose_file
from attnlab.configuration.digest import digest
from attnlab.configuration.identity import SECTIONS, run_id, science
from attnlab.configuration.overrides import parse
from attnlab.configuration.sweep_arguments import Composed, check_left_out, compose_job
from attnlab.errors import ConfigError
from attnlab.tables.selectors import Given, declared_values, root_of, split_arguments, text_at, wanted_values
from attnlab.tables.spec import check_table

#: row, column, seed
RunKey = tuple[str, str, int]
#: what the runs of a grid are: those of a declared table, of one sweep, or whatever is recorded
Origin = Literal["table", "sweep", "records"]


@dataclass(frozen=True)
class Cell:
    """One row in one column: what its runs, one a seed, have in common.

    overrides: those of the row and the column;  run_overrides: those of the command line (`Grid.run_overrides`), but
    without keys of attention if the row has no attention.
    """

    row: str
    column: str
    overrides: tuple[str, ...]
    config: dict[str, Any]
    run_overrides: tuple[str, ...] = ()

    def run_id(self, seed: int) -> str:
        return run_id(self.config | {"seed": seed})

    @cached_property
    def start(self) -> str:
        """A digest. If two cells share it, equal seeds give equal initial backbone weights, images and order."""
        mine = science(self.config)
        return digest([mine[section] for section in ("dataset", "model", "recipe")] + [mine.get("start_from")])


@dataclass(frozen=True)
class NumberAxis:
    """The one number that varies between the cells of a sweep.

    name: its short key;  points: (row, column) -> (the labels without the number, the number or None).
    """

    name: str
    points: Mapping[tuple[str, str], tuple[str, float | None]]


@dataclass(frozen=True)
class Grid:
    """The cells and seeds of a declared table that the arguments select, composed; or of a sweep, or of records.

    table: the declaration, as checked by attnlab.tables.spec;  changed: the arguments that change what the table
    declares, so that its page says "not the protocol";  run_overrides: the arguments that every run gets;  origin:
    where the runs come from, see undeclared.py;  axis: of a sweep over one number.
    """

    name: str
    table: dict[str, Any]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    changed: tuple[str, ...]
    run_overrides: tuple[str, ...]
    origin: Origin = "table"
    axis: NumberAxis | None = None

    @cached_property
    def run_ids(self) -> dict[RunKey, str]:
        """{(row, column, seed): run id}, seed by seed, so that a half-finished table is balanced."""
        return {(cell.row, cell.column, seed): cell.run_id(seed) for seed in self.seeds for cell in self.cells}

    @cached_property
    def declared_seeds(self) -> int:
        """Seeds a row that the table declares; those of its file if table.seeds sets fewer."""
        here = len(self.table["seeds"])
        if not any("table.seeds" in argument for argument in self.changed):
            return here
        return max(here, len(compose_file("run", [f"table={self.name}"]).table.seeds))

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def is_part(self) -> bool:
        """Whether the table declares more cells or seeds than are selected."""
        if self.origin != "table":
            return False
        declared = len(self.table["rows"]) * len(self.table["columns"]), len(self.table["seeds"])
        return (len(self.cells), len(self.seeds)) != declared

    @property
    def file_name(self) -> str:
        """How the names of the table's files begin: NAME, or NAME_part, so that a part does not overwrite the table."""
        return self.name + "_part" * bool(self.changed or self.is_part)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.column for cell in self.cells))


def read_grid(arguments: Sequence[str]) -> Grid:
    """The grid that `table=NAME` and further arguments, as typed, declare.

    Arguments of keys that rows or columns set, and `seed`, select cells and seeds; other overrides go to every run.
    Raises ConfigError, naming the key, the value and what is allowed.
    """
    name, table_arguments, table, given = _declared(arguments)
    values = declared_values(name, table)
    selectors, run_overrides = split_arguments(values, given)
    compose_pair = cache(lambda row, column: _compose(name, table, row, column, table_arguments, run_overrides))
    make_cell = cache(lambda row, column: _cell(name, table, row, column, run_overrides, compose_pair(row, column)))
    seeds, selected = list(table["seeds"]), list(values)
    for item in selectors:
        key = item.key_or_group
        if key == "seed":
            wanted = wanted_values(item, [str(seed) for seed in seeds], name, "; table.seeds=[...] sets others")
            seeds = [seed for seed in seeds if str(seed) in wanted]
            continue
        texts = {
            pair: values[pair].get(key) or text_at(compose_pair(*pair).overrides, make_cell(*pair).config, key)
            for pair in values
        }
        wanted = wanted_values(item, sorted({text for text in texts.values() if text is not None}), name)
        selected = [pair for pair in selected if texts[pair] in wanted]
    if not selected or not seeds:
        raise ConfigError(f"table={name}: no cell matches all of {' '.join(arguments)}")
    cells = tuple(make_cell(*pair) for pair in selected)
    if any(compose_pair(*pair).left_out for pair in selected):
        check_left_out([compose_pair(*pair) for pair in values])
    _check_distinct(name, table, cells)
    changed = tuple(a for a in run_overrides if root_of(parse([a], "")[0]).split("/")[0] in SECTIONS)
    if changed and not any(_changes_science(table_arguments, cell, run_overrides) for cell in cells):
        changed = ()
    edited = tuple(a for a in table_arguments if not a.lstrip("+").startswith(("table=", "table.paper_columns=")))
    return Grid(name, table, cells, tuple(seeds), (*edited, *changed), tuple(run_overrides))


def _declared(arguments: Sequence[str]) -> tuple[str, list[str], dict[str, Any], Given]:
    """(the table's name, the arguments that are about the table, its checked declaration, all arguments parsed)."""
    given = list(zip(arguments, parse(arguments, "the command line"), strict=True))
    names = [item.value() for _, item in given if item.key_or_group == "table"]
    if len(names) != 1 or not isinstance(names[0], str):
        typed = " ".join(argument for argument, item in given if item.key_or_group == "table")
        raise ConfigError(f"not one table: {typed}; allowed is one, table=NAME")
    for argument, item in given:
        if item.key_or_group in ("experiment", "hparams", "hydra/sweeper"):
            raise ConfigError(f"{argument} with table={names[0]}: the table decides what runs; remove one of the two")
    table_arguments = [argument for argument, item in given if root_of(item) == "table"]
    where = [argument for argument, item in given if item.key_or_group == "output_dir"]
    composed = OmegaConf.to_container(compose_file("run", [*table_arguments, *where]).table, resolve=True)
    return names[0], table_arguments, check_table(names[0], composed), given


def _overrides(table: Mapping[str, Any], row: str, column: str) -> tuple[str, ...]:
    return (*table["rows"][row], *table["columns"][column])


def _compose(
    name: str, table: Mapping[str, Any], row: str, column: str, table_arguments: list[str], run_overrides: list[str]
) -> Composed:
    overrides = [*table_arguments, *_overrides(table, row, column), *run_overrides]
    try:
        return compose_job(lambda given: compose_file("run", given), overrides)
    except ConfigError as error:
        raise ConfigError(f"{_where(name, row, column)}: {error}") from error


def _cell(
    name: str, table: Mapping[str, Any], row: str, column: str, run_overrides: Sequence[str], composed: Composed
) -> Cell:
    kept = tuple(argument for argument in run_overrides if argument not in composed.left_out)
    try:
        return Cell(row, column, _overrides(table, row, column), check(composed.config), kept)
    except ConfigError as error:
        raise ConfigError(f"{_where(name, row, column)}: {error}") from error


def _where(name: str, row: str, column: str) -> str:
    return f"table={name}, row {row}" + (f", column {column}" if column else "")


def _changes_science(table_arguments: list[str], cell: Cell, run_overrides: list[str]) -> bool:
    """Whether run_overrides give the cell other run ids; another folder with the same images does not."""
    paths = [argument for argument in run_overrides if argument.startswith("dataset.root=")]
    declared = check(compose_file("run", [*table_arguments, *cell.overrides, *paths]))
    return run_id(declared | {"seed": 0}) != cell.run_id(0)


def _check_distinct(name: str, table: Mapping[str, Any], cells: Sequence[Cell]) -> None:
    """Raise ConfigError if two cells are the same runs and table.same does not list their rows together."""
    owner: dict[str, Cell] = {}
    for cell in cells:
        other = owner.setdefault(cell.run_id(0), cell)
        if other is cell or any({cell.row, other.row} <= set(group) for group in table["same"]):
            continue
        where = " and ".join(f"{c.row}{f' in {c.column}' if c.column else ''}" for c in (other, cell))
        raise ConfigError(f"table={name}: {where} are the same runs; if that is intended, add their rows to table.same")
