"""A table's declaration: rows x columns x seeds, each cell a list of overrides, and which of them an argument selects.

conf/table/NAME.yaml holds `table.rows` and `table.columns`, {label: [overrides]}, and `table.seeds`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from hydra.core.override_parser.types import Glob, Override, QuotedString
from omegaconf import OmegaConf

from attnlab.configuration.compose import check, chosen, compose_file
from attnlab.configuration.digest import digest
from attnlab.configuration.groups import CONF
from attnlab.configuration.identity import SECTIONS, run_id, science
from attnlab.configuration.overrides import parse
from attnlab.configuration.sweep_arguments import Composed, check_left_out, compose_job
from attnlab.errors import ConfigError
from attnlab.tables.spec import check_table

#: what makes a table, and no run of it, so that a job does not get it
OF_THE_TABLE = ("table", "source")


@dataclass(frozen=True)
class Cell:
    """One row in one column: what its runs, a seed each, have in common.

    overrides: of the row and the column;  given: those of the command line that every run gets (`Grid.left`), but for
    the keys of attention that a row without attention does not have.
    """

    row: str
    column: str
    overrides: tuple[str, ...]
    config: dict[str, Any]
    given: tuple[str, ...] = ()

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

    changed: the arguments by which it is not what is declared, "not the protocol";
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
    def is_part(self) -> bool:
        """Whether cells or seeds that the table declares are not among these."""
        declared = len(self.table["rows"]) * len(self.table["columns"]), len(self.table["seeds"])
        return (len(self.cells), len(self.seeds)) != declared

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.column for cell in self.cells))


def read_grid(arguments: Sequence[str]) -> Grid:
    """The grid that `table=NAME` and further arguments, as typed, declare.

    Raises ConfigError for what makes no table, naming the key, the value and what is allowed.
    """
    name, own, table, given = _declared(arguments)
    pairs = _pairs(name, table)
    selectors, left = _split(pairs, given)
    given_to = cache(lambda row, column: _compose(name, table, row, column, own, left))
    compose_cell = cache(lambda row, column: _cell(name, table, row, column, left, given_to(row, column)))
    seeds, left_over = list(table["seeds"]), list(pairs)
    for item in selectors:
        key = item.key_or_group
        if key == "seed":
            wanted = _wanted(item, [str(seed) for seed in seeds], name, "; table.seeds=[...] sets others")
            seeds = [seed for seed in seeds if str(seed) in wanted]
            continue
        texts = {
            pair: pairs[pair].get(key) or _text_at(given_to(*pair).overrides, compose_cell(*pair), key)
            for pair in pairs
        }
        wanted = _wanted(item, sorted({text for text in texts.values() if text is not None}), name)
        left_over = [pair for pair in left_over if texts[pair] in wanted]
    if not left_over or not seeds:
        raise ConfigError(f"table={name}: no cell has all of {' '.join(arguments)}")
    cells = tuple(compose_cell(*pair) for pair in left_over)
    if any(given_to(*pair).left_out for pair in left_over):
        check_left_out([given_to(*pair) for pair in pairs])
    _check_distinct(name, table, cells)
    changed = tuple(a for a in left if _root(parse([a], "")[0]).split("/")[0] in SECTIONS)
    if changed and not any(_changes(own, cell, left) for cell in cells):
        changed = ()
    edited = tuple(argument for argument in own if not argument.startswith("table="))
    return Grid(name, table, cells, tuple(seeds), (*edited, *changed), tuple(left))


Given = list[tuple[str, Override]]
Pairs = dict[tuple[str, str], dict[str, str]]


def _declared(arguments: Sequence[str]) -> tuple[str, list[str], dict[str, Any], Given]:
    """The table's name, the arguments that are its own, what it declares, and all arguments with their meaning."""
    given = list(zip(arguments, parse(arguments, "the command line"), strict=True))
    names = [item.value() for _, item in given if item.key_or_group == "table"]
    if len(names) != 1 or not isinstance(names[0], str):
        raise ConfigError(f"{' '.join(a for a, i in given if i.key_or_group == 'table')}: allowed is one, table=NAME")
    for argument, item in given:
        if item.key_or_group in ("experiment", "hydra/sweeper"):
            text = f"{argument} with table={names[0]}"
            raise ConfigError(f"{text}: a table says itself what it runs; leave one of them out")
    own = [argument for argument, item in given if _root(item) == "table"]
    where = [argument for argument, item in given if item.key_or_group == "output_dir"]
    composed = OmegaConf.to_container(compose_file("run", [*own, *where]).table, resolve=True)
    return names[0], own, check_table(names[0], composed), given


def _pairs(name: str, table: Mapping[str, Any]) -> Pairs:
    """(row, column) -> what both set, {key: value as typed}."""
    declared = {
        kind: {label: parse(overrides, f"table.{kind}.{label}") for label, overrides in table[kind].items()}
        for kind in ("rows", "columns")
    }
    pairs = {}
    for row, mine in declared["rows"].items():
        for column, others in declared["columns"].items():
            if both := {item.key_or_group for item in mine} & {item.key_or_group for item in others}:
                raise ConfigError(f"table={name}: row {row} and column {column} both set {sorted(both)[0]}")
            pairs[row, column] = {item.key_or_group: _text(item.value()) for item in (*mine, *others)}
    return pairs


def _split(pairs: Pairs, given: Given) -> tuple[list[Override], list[str]]:
    """What selects, and what every run gets."""
    keys = {"seed"} | {key for values in pairs.values() for key in values}
    found, left = [], []
    for argument, item in given:
        if _root(item) in OF_THE_TABLE or item.key_or_group.startswith("hydra"):
            continue
        if item.key_or_group in keys:
            found.append(item)
        elif item.is_sweep_override():
            raise ConfigError(f"{argument}: a table takes one value for what its rows and columns do not set")
        else:
            left.append(argument)
    return found, left


def _text(value: Any) -> str:
    """A value as it is typed: true, null, 16, [2,3]."""
    return value.text if isinstance(value, QuotedString) else Override._get_value_element_as_str(value)


def _text_at(overrides: Sequence[str], cell: Cell, key: str) -> str | None:
    """What a composed cell has at a key that its row does not set: a group's choice, or a value."""
    if (CONF / key).is_dir():
        return chosen(overrides).get(key)
    node: Any = cell.config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return _text(node)


def _overrides(table: Mapping[str, Any], row: str, column: str) -> tuple[str, ...]:
    return (*table["rows"][row], *table["columns"][column])


def _root(item: Override) -> str:
    return item.key_or_group.split(".")[0]


def _compose(
    name: str, table: Mapping[str, Any], row: str, column: str, own: Sequence[str], left: Sequence[str]
) -> Composed:
    try:
        return compose_job(
            lambda overrides: compose_file("run", overrides), [*own, *_overrides(table, row, column), *left]
        )
    except ConfigError as error:
        raise ConfigError(f"{_where(name, row, column)}: {error}") from error


def _cell(name: str, table: Mapping[str, Any], row: str, column: str, left: Sequence[str], composed: Composed) -> Cell:
    given = tuple(argument for argument in left if argument not in composed.left_out)
    try:
        return Cell(row, column, _overrides(table, row, column), check(composed.config), given)
    except ConfigError as error:
        raise ConfigError(f"{_where(name, row, column)}: {error}") from error


def _where(name: str, row: str, column: str) -> str:
    return f"table={name}, row {row}" + (f", column {column}" if column else "")


def _wanted(item: Override, there: Sequence[str], name: str, hint: str = "") -> set[str]:
    """The values an argument names, of those that are there."""
    value = item.value()
    if isinstance(value, Glob):
        named = value.filter(list(there))
    elif item.is_sweep_override():
        named = [str(text) for text in item.sweep_string_iterator()]
        named = [text[1:-1] if text[:1] in "'\"" and text[-1:] == text[:1] else text for text in named]
    else:
        named = [_text(value)]
    if unknown := [text for text in named if text not in there]:
        raise ConfigError(
            f"{item.key_or_group}={unknown[0]}: unknown to table={name}, which has {', '.join(there)}{hint}"
        )
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
