"""Which runs of a table are recorded, which are to do, and how long these take by what was measured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from attnlab.configuration.digest import digest
from attnlab.configuration.identity import cell, science
from attnlab.records.record import Record
from attnlab.tables.grid import Cell, Grid

Key = tuple[str, str, int]


@dataclass(frozen=True)
class Ledger:
    """The runs of a grid, (row, column, seed) -> run id, and the records there are, run id -> record."""

    ids: Mapping[Key, str]
    cells: Mapping[str, Cell]
    records: Mapping[str, Record]

    @cached_property
    def done(self) -> dict[Key, Record]:
        """What is recorded."""
        return {key: self.records[name] for key, name in self.ids.items() if name in self.records}

    @cached_property
    def to_do(self) -> dict[Key, str]:
        """What is not, each id once."""
        return {key: name for name, key in {n: k for k, n in self.ids.items() if n not in self.records}.items()}

    def expected(self) -> tuple[float, int]:
        """Seconds that the runs to do take one after another, and how many of them nothing is known about.

        A run takes the median of its cell's other seeds, else of all runs of its dataset, model, head and recipe.
        """
        known: dict[str, list[float]] = {}
        for record in self.records.values():
            for key in _like(record["config"]):
                known.setdefault(key, []).append(record["seconds"])
        seconds, unknown = 0.0, 0
        for name in self.to_do.values():
            found = next((known[key] for key in _like(self.cells[name].config) if key in known), None)
            seconds, unknown = (seconds + median(found), unknown) if found else (seconds, unknown + 1)
        return seconds, unknown

    def heading(self, name: str, n_jobs: int) -> str:
        """One line: cells, runs, done, to do, expected time."""
        seconds, unknown = self.expected()
        runs, to_do = len(set(self.ids.values())), len(self.to_do)
        line = (
            f"table {name}: {len({key[:2] for key in self.ids})} cells, {runs} runs, {runs - to_do} done, {to_do} to do"
        )
        if to_do == 0:
            return line
        if unknown == to_do:
            return f"{line}; how long a run takes here is not known yet"
        rest = f" and {unknown} runs of unknown length" if unknown else ""
        return f"{line}, about {duration(seconds / n_jobs)}{rest}"


def _like(config: Mapping) -> tuple[str, str]:
    rest = {name: item for name, item in science(config).items() if name not in ("attention", "seed")}
    return cell(config), digest(rest)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for limit, unit, digits in ((172800, 86400, 1), (7200, 3600, 1), (90, 60, 0)):
        if seconds >= limit:
            return f"{seconds / unit:.{digits}f} {'days' if unit == 86400 else 'h' if unit == 3600 else 'min'}"
    return f"{seconds:.0f} s"


def ledger(grid: Grid, records: Iterable[Record]) -> Ledger:
    """The ledger of a grid."""
    ids = {(cell.row, cell.column, seed): cell.run_id(seed) for seed in grid.seeds for cell in grid.cells}
    owner = {cell.run_id(seed): cell for seed in grid.seeds for cell in grid.cells}
    return Ledger(ids, owner, {record["id"]: record for record in records})
