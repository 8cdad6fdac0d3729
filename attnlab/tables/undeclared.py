"""The grid of runs that no table declares: those of one sweep, or records that were selected.

Rows are attention, head and start weights where these vary. Columns are then whatever else varies: dataset, model and
recipe, so that each column compares its rows under one setup. Where attention and head do not vary, rows are the
recipes, else the models. The baseline is the first row without attention, else the first row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from attnlab.configuration.digest import digest
from attnlab.configuration.identity import cell
from attnlab.configuration.schema import NO_ATTENTION
from attnlab.tables.grid import Cell, Grid, NumberAxis, Origin
from attnlab.tables.run_labels import SectionNames, section_names, short_key
from attnlab.tables.short_numbers import with_short_numbers

METRICS = ("test/top1_error", "test/top5_error", "test/calibration_error")
#: the sections in the order of a title
TITLE = ("dataset", "model", "attention", "head", "recipe")
#: a curve needs so many different numbers
LEAST_NUMBERS = 3

Config = Mapping[str, Any]


def grid_of(configs: Sequence[Config], origin: Origin) -> Grid:
    """The grid of some configs, one a run, in their order. Configs that differ only in their seed are one cell."""
    first: dict[str, Config] = {}
    for config in configs:
        first.setdefault(cell(config), config)
    cells = list(first.values())
    names = {section: section_names(section, cells) for section in TITLE}
    name, numbers = _varying_number(names)
    if name and None not in numbers:
        order = sorted(range(len(cells)), key=lambda i: numbers[i] or 0)
        cells, numbers = [cells[i] for i in order], [numbers[i] for i in order]
        names = {section: section_names(section, cells) for section in TITLE}
    in_rows, in_columns = _rows_and_columns(names, cells)
    rows, columns = _joined(in_rows, names, cells), _joined(in_columns, names, cells)
    labels = with_short_numbers([*rows, *columns])
    rows, columns = _distinct(labels[: len(rows)], labels[len(rows) :], cells), labels[len(rows) :]
    made = tuple(Cell(row, column, (), dict(config)) for row, column, config in zip(rows, columns, cells, strict=True))
    without = [each.row for each in made if each.config["attention"]["_target_"] == NO_ATTENTION]
    seeds = tuple(sorted({config["seed"] for config in configs}))
    table: dict[str, Any] = {
        "title": _title(names, cells), "rows": {row: [] for row in rows}, "columns": {column: [] for column in columns},
        "seeds": list(seeds), "metrics": list(METRICS),
        "baseline": (without or rows)[0], "same": [], "paper": {}, "about": {},
    }  # fmt: skip
    page = f"{origin}_{digest(sorted(first))[:8]}"
    axis = NumberAxis(name, _points(name, numbers, made)) if name else None
    return Grid(page, table, made, seeds, (), (), origin, axis)


def _rows_and_columns(names: Mapping[str, SectionNames], cells: Sequence[Config]) -> tuple[list[str], list[str]]:
    """The sections whose names label the rows, and those whose names label the columns."""
    varying = [section for section in TITLE if names[section].vary]
    rows: list[str] = [section for section in ("attention", "head") if section in varying]
    if len({config.get("start_from") for config in cells}) > 1:
        rows.append("start_from")
    for other in ("recipe", "model"):
        if not rows and other in varying:
            rows = [other]
    columns = [section for section in varying if section not in rows]
    return rows or ["attention"], columns


def _joined(sections: Sequence[str], names: Mapping[str, SectionNames], cells: Sequence[Config]) -> list[str]:
    """One label for each cell."""
    labels = []
    for number, config in enumerate(cells):
        parts = [names[section].labels[number] or names[section].common for section in sections if section in names]
        if "start_from" in sections:
            parts.append(f"start_from={config.get('start_from') or 'null'}")
        labels.append(", ".join(parts))
    return labels


def _distinct(rows: Sequence[str], columns: Sequence[str], cells: Sequence[Config]) -> list[str]:
    """The rows; two cells of one name get the start of their digest as well."""
    pairs = list(zip(rows, columns, strict=True))
    return [
        f"{row} ({cell(config)[:6]})" if pairs.count((row, column)) > 1 else row
        for (row, column), config in zip(pairs, cells, strict=True)
    ]


def _title(names: Mapping[str, SectionNames], cells: Sequence[Config]) -> str:
    """What all runs have in common: `dataset=cifar10, model=resnet20, recipe=modern`."""
    common = {section: names[section].common for section in TITLE}
    parts = [f"{section}={text}" for section, text in common.items() if text and (section, text) != ("head", "linear")]
    starts = {config.get("start_from") for config in cells}
    if len(starts) == 1 and (start := starts.pop()):
        parts.append(f"start_from={start}")
    return ", ".join(parts) or "runs"


def _varying_number(names: Mapping[str, SectionNames]) -> tuple[str, list[float | None]]:
    """(its short key, its value in each cell) if exactly one number varies and takes enough values; else ("", [])."""
    found = [(short_key(key, of.numbers), list(of.numbers[key])) for of in names.values() for key in of.numbers]
    if len(found) != 1 or len(set(found[0][1]) - {None}) < LEAST_NUMBERS:
        return "", []
    return found[0]


def _points(
    name: str, numbers: Sequence[float | None], cells: Sequence[Cell]
) -> dict[tuple[str, str], tuple[str, float | None]]:
    """{(row, column): (its labels without the number, the number)}."""
    points = {}
    for each, value in zip(cells, numbers, strict=True):
        parts = [part.split() for label in (each.row, each.column) for part in label.split(", ")]
        kept = [" ".join(word for word in words if not word.startswith(f"{name}=")) for words in parts]
        points[each.row, each.column] = (", ".join(filter(None, kept)), value)
    return points
