"""A table judged: every cell's runs, each row against the baseline, and what must be said under it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

from attnlab.configuration.compose import compose_file
from attnlab.configuration.digest import canonical
from attnlab.configuration.identity import science
from attnlab.records.record import Record
from attnlab.tables.entry import Entry, Paper
from attnlab.tables.grid import Cell, Grid
from attnlab.tables.over_images import Interval
from attnlab.tables.overview import Row
from attnlab.tables.progress import Ledger, ledger
from attnlab.tables.same_setup import how_unlike
from attnlab.tables.statistics import Difference, holm, paired, welch

#: scores whose last layer is symmetric about zero at birth, so that a flipped sign is the same model
SYMMETRIC = ("attnlab.attention.se.SE", "attnlab.attention.cbam.cbam")
#: at alpha = 1: m = s(z), m = 1 - s(z), m = s(-z)
ONE_MODEL = (
    {"_target_": "attnlab.attention.masks.Attend", "alpha": 1},
    {"_target_": "attnlab.attention.masks.Ignore", "alpha": 1},
    {"_target_": "attnlab.attention.masks.Negated"},
)
IGNORES = ("Ignore", "Negated", "Reciprocal", "Exponential")


@dataclass(frozen=True)
class Floor:
    """Two rows of one column that are one model: what lies between them is chance.

    twins: whether they differ in the draw of their attention; otherwise by the identity s(-z) = 1 - s(z).
    """

    rows: tuple[str, str]
    twins: bool
    column: str
    difference: Difference
    p_holm: float | None


@dataclass(frozen=True)
class Comparison:
    """A grid and the records of it; `left_out`: what could not be believed, a line each;  over_images: (row, column) ->
    the interval of its difference over the test images, of runs that keep their predictions (image_table.py)."""

    grid: Grid
    book: Ledger
    left_out: tuple[str, ...] = ()
    over_images: Mapping[tuple[str, str], Interval] = field(default_factory=dict, compare=False)
    known: dict[str, dict[tuple[str, str], Entry]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.grid.table["metrics"])

    @property
    def baseline(self) -> str:
        return self.grid.table["baseline"]

    def runs(self, cell: Cell) -> Row:
        """The runs of a cell, by seed."""
        there = [self.book.done.get((cell.row, cell.column, seed)) for seed in self.grid.seeds]
        return Row(cell.row, [record for record in there if record is not None])

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """All that the table is made of, each once."""
        return tuple({record["id"]: record for record in self.book.done.values()}.values())

    @property
    def comparisons(self) -> int:
        """Differences that the table declares, asked for or not, recorded or not."""
        table = self.grid.table
        return max(1, (len(table["rows"]) - 1) * len(table["columns"]))

    def entries(self, metric: str) -> dict[tuple[str, str], Entry]:
        """(row, column) -> its entry, the p values adjusted by Holm over all differences that the table declares.

        One that is not there, or that may not be judged, counts as p = 1: neither a part of a table nor an unfinished
        one judges more mildly.
        """
        if metric in self.known:
            return self.known[metric]
        first = metric == self.metrics[0]
        differences = {(cell.row, cell.column): self._against_baseline(cell, metric) for cell in self.grid.cells}
        p_holm, p_equivalent = (
            self._adjusted({key: getattr(d, name) for key, d in differences.items() if d and key not in self.unlike})
            for name in ("p", "p_equivalent")
        )
        entries = self.known[metric] = {}
        for cell in self.grid.cells:
            key = (cell.row, cell.column)
            entries[key] = Entry(
                metric, first and self.whole and key not in self.unlike, cell, self.runs(cell), len(self.grid.seeds),
                differences[key], p_holm.get(key), self.comparisons, self.paper(metric, cell),
                self.margin if first else None, p_equivalent.get(key),
            )  # fmt: skip
        return entries

    def _adjusted(self, p_values: Mapping[tuple[str, str], float | None]) -> dict[tuple[str, str], float | None]:
        there = {key: p for key, p in p_values.items() if p is not None}
        absent = [1.0] * max(0, self.comparisons - len(there))
        return dict(zip(there, holm([*there.values(), *absent]), strict=False)) if there else {}

    @property
    def margin(self) -> float | None:
        """Within which a row counts as equivalent to the baseline, in the units of the first metric."""
        return self.grid.table.get("margin")

    @cached_property
    def declared_seeds(self) -> int:
        """Seeds a row that the table declares; in its file, where an argument sets fewer."""
        here = len(self.grid.table["seeds"])
        if not any("table.seeds" in argument for argument in self.grid.changed):
            return here
        return max(here, len(compose_file("run", [f"table={self.grid.name}"]).table.seeds))

    @cached_property
    def whole(self) -> bool:
        """Whether every cell shown has the first metric of all seeds that the table declares."""
        return all(len(self._by_seed(cell, self.metrics[0])) >= self.declared_seeds for cell in self.grid.cells)

    @cached_property
    def unlike(self) -> dict[tuple[str, str], str]:
        """(row, column) -> how it was trained otherwise than its baseline; of those that were."""
        found = {}
        for cell in self.grid.cells:
            if baseline := self._baseline_of(cell):
                mine, theirs = ({run["config"]["seed"]: run for run in self.runs(c).runs} for c in (cell, baseline))
                found[cell.row, cell.column] = how_unlike(mine, theirs)
        return {key: how for key, how in found.items() if how}

    def _baseline_of(self, cell: Cell) -> Cell | None:
        if cell.row == self.baseline:
            return None
        return next((c for c in self.grid.cells if c.row == self.baseline and c.column == cell.column), None)

    def _against_baseline(self, cell: Cell, metric: str) -> Difference | None:
        baseline = self._baseline_of(cell)
        return self._difference(cell, baseline, metric) if baseline else None

    def _difference(self, cell: Cell, other: Cell, metric: str) -> Difference | None:
        mine, theirs = self._by_seed(cell, metric), self._by_seed(other, metric)
        margin = self.margin if metric == self.metrics[0] else None
        if cell.start == other.start:
            both = sorted(mine.keys() & theirs.keys())
            return paired([mine[seed] for seed in both], [theirs[seed] for seed in both], margin) if both else None
        return welch(list(mine.values()), list(theirs.values()), margin) if mine and theirs else None

    def _by_seed(self, cell: Cell, metric: str) -> dict[int, float]:
        runs = self.runs(cell).runs
        there = {run["config"]["seed"]: run["metrics"].get(metric, run.get(metric)) for run in runs}
        return {seed: float(value) for seed, value in there.items() if value is not None}

    def floors(self, metric: str) -> list[Floor]:
        """The pairs of rows that are one model, trained alike, in every column that has both; p adjusted by Holm."""
        found = []
        for cell, other in self._pairs:
            twins = _twins(cell.config, other.config)
            alike = not how_unlike(*({run["config"]["seed"]: run for run in self.runs(c).runs} for c in (cell, other)))
            if alike and (difference := self._difference(cell, other, metric)) is not None:
                found.append(((cell.row, other.row), twins, cell.column, difference))
        adjusted = holm([difference.p for *_, difference in found])
        return [Floor(*pair, p_holm) for pair, p_holm in zip(found, adjusted, strict=True)]

    @cached_property
    def _pairs(self) -> tuple[tuple[Cell, Cell], ...]:
        """Two cells each of one column that are one model."""
        columns = [[cell for cell in self.grid.cells if cell.column == column] for column in self.grid.columns]
        pairs = [pair for cells in columns for pair in combinations(cells, 2)]
        return tuple(pair for pair in pairs if _one_model(*(cell.config for cell in pair)))

    @property
    def has_floor(self) -> bool:
        """Whether the table declares rows that are one model, recorded or not."""
        return bool(self._pairs)

    @property
    def compares_masks(self) -> bool:
        """Whether the table holds attention that attends and attention that ignores."""
        masks = [str(cell.config["attention"].get("mask", {}).get("_target_", "")) for cell in self.grid.cells]
        return any(m.endswith("Attend") for m in masks) and any(name in m for m in masks for name in IGNORES)

    def paper(self, metric: str, cell: Cell) -> Paper | None:
        """What the paper prints for a cell."""
        block = self.grid.table["paper"].get(metric)
        printed = ((block or {}).get("values") or {}).get(cell.row, {}).get(cell.column)
        if block is None or printed is None:
            return None
        mean, _, sd = str(printed).partition("±")
        value = float(mean)
        error = 100 - value if block["gives"] == "accuracy" else value
        deviation = float(sd) if sd else None
        return Paper(error, deviation, block.get("runs"), block["source"], block["chosen"] == "test")

    @property
    def missing(self) -> int:
        """Runs that are not recorded."""
        return len(self.book.to_do)


def compare(grid: Grid, records: Iterable[Record], left_out: Sequence[str] = ()) -> Comparison:
    """The comparison of a grid's records; of the others it knows nothing.

    Runs of a column that saw other images than most of it are left out: they are no runs of one experiment.
    """
    book = ledger(grid, records)
    images: dict[str, Counter[str]] = {}
    for (_, column, _), record in book.done.items():
        images.setdefault(column, Counter())[record.get("data_hash", "")] += 1
    usual = {column: counted.most_common(1)[0][0] for column, counted in images.items()}
    odd = {
        record["id"]: f"{record['id']}: it saw other images (data_hash {record['data_hash']}) than most of its column"
        for (_, column, _), record in book.done.items()
        if record.get("data_hash", "") != usual[column]
    }
    kept = {name: record for name, record in book.records.items() if name not in odd}
    return Comparison(grid, Ledger(book.ids, book.cells, kept), (*left_out, *odd.values()))


def _one_model(config: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs are one model: twins, or two names of one function by the identity s(-z) = 1 - s(z).

    Of runs that start from another, neither: one of the two may have taken over that run's attention.
    """
    return _twins(config, other) or _identical(config, other)


def _twins(config: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs are equal but for the draw of their attention's initial weights."""
    mine, theirs = science(config), science(other)
    draws = [node["attention"].pop("draw", None) for node in (mine, theirs)]
    return mine == theirs and draws[0] != draws[1] and "start_from" not in mine


def _identical(config: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    mine, theirs = science(config), science(other)
    if mine["attention"]["_target_"] not in SYMMETRIC or "start_from" in mine:
        return False
    masks = [node["attention"].pop("mask", None) for node in (mine, theirs)]
    return mine == theirs and masks[0] != masks[1] and all(canonical(mask) in ONE_MODEL for mask in masks)
