"""A table judged: every cell's runs, each row against the baseline, and what must be said under it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from attnlab.digest import canonical
from attnlab.grid import Cell, Grid
from attnlab.identity import science
from attnlab.ledger import Ledger, ledger
from attnlab.results import Record
from attnlab.statistics import ALPHA, Difference, holm, paired, welch
from attnlab.tables import Row

#: at alpha = 1: m = s(z), m = 1 - s(z), m = s(-z)
ONE_MODEL = (
    {"_target_": "attnlab.attention.masks.Attend", "alpha": 1},
    {"_target_": "attnlab.attention.masks.Ignore", "alpha": 1},
    {"_target_": "attnlab.attention.masks.Negated"},
)
IGNORES = ("Ignore", "Negated", "Reciprocal", "Exponential")


@dataclass(frozen=True)
class Paper:
    """A number that a source prints, as an error in percent. runs: how many it is the mean of, where it says so."""

    error: float
    sd: float | None
    runs: int | None
    source: str
    chosen_on_test: bool


@dataclass(frozen=True)
class Entry:
    """One cell: its runs, its difference from the baseline, what the paper says.

    judged: whether a difference of this metric may be called one, which the table's first alone may;  p_holm: p of the
    difference, adjusted over the table;  comparisons: of the whole table, once it is finished;  paper: None where there
    is none to show.
    """

    metric: str
    judged: bool
    cell: Cell
    runs: Row
    wanted: int
    difference: Difference | None = None
    p_holm: float | None = None
    comparisons: int = 1
    paper: Paper | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Row and column."""
        return self.cell.row, self.cell.column

    @property
    def detectable(self) -> float | None:
        """The difference that so many seeds find with 80 % power, corrected for the whole table."""
        return self.difference.detectable(self.comparisons) if self.difference else None

    @property
    def bold(self) -> bool:
        """Whether the difference is more than chance would make of a whole table without any."""
        return self.judged and self.p_holm is not None and self.p_holm <= ALPHA


@dataclass(frozen=True)
class Floor:
    """Two rows of one column that are one model: what lies between them is chance."""

    rows: tuple[str, str]
    column: str
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """A grid and the records of it; `left_out`: what could not be believed, a line each."""

    grid: Grid
    book: Ledger
    left_out: tuple[str, ...] = ()
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

    def entries(self, metric: str) -> dict[tuple[str, str], Entry]:
        """(row, column) -> its entry, the p values adjusted by Holm over all rows and columns."""
        if metric in self.known:
            return self.known[metric]
        differences = {(cell.row, cell.column): self._against_baseline(cell, metric) for cell in self.grid.cells}
        tested = [key for key, difference in differences.items() if difference and difference.p is not None]
        adjusted = dict(zip(tested, holm([differences[key].p for key in tested]), strict=True))  # type: ignore[union-attr]
        comparisons = sum(cell.row != self.baseline for cell in self.grid.cells) or 1
        entries = self.known[metric] = {}
        for cell in self.grid.cells:
            key = (cell.row, cell.column)
            difference = differences[key]
            entries[key] = Entry(
                metric, metric == self.metrics[0], cell, self.runs(cell), len(self.grid.seeds), difference,
                adjusted.get(key), comparisons, self.paper(metric, cell),
            )  # fmt: skip
        return entries

    def _against_baseline(self, cell: Cell, metric: str) -> Difference | None:
        baseline = next((c for c in self.grid.cells if c.row == self.baseline and c.column == cell.column), None)
        if baseline is None or cell.row == self.baseline:
            return None
        return self._difference(cell, baseline, metric)

    def _difference(self, cell: Cell, other: Cell, metric: str) -> Difference | None:
        mine, theirs = self._by_seed(cell, metric), self._by_seed(other, metric)
        if _share_a_start(cell.config, other.config):
            both = sorted(mine.keys() & theirs.keys())
            return paired([mine[seed] for seed in both], [theirs[seed] for seed in both]) if both else None
        return welch(list(mine.values()), list(theirs.values())) if mine and theirs else None

    def _by_seed(self, cell: Cell, metric: str) -> dict[int, float]:
        runs = self.runs(cell).runs
        there = {run["config"]["seed"]: run["metrics"].get(metric, run.get(metric)) for run in runs}
        return {seed: float(value) for seed, value in there.items() if value is not None}

    def floors(self, metric: str) -> list[Floor]:
        """The pairs of rows that are one model, in every column that has both."""
        found = []
        for column in self.grid.columns:
            cells = [cell for cell in self.grid.cells if cell.column == column]
            for i, cell in enumerate(cells):
                for other in cells[i + 1 :]:
                    if _one_model(cell.config, other.config):
                        difference = self._difference(cell, other, metric)
                        if difference is not None:
                            found.append(Floor((cell.row, other.row), column, difference))
        return found

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
    """The comparison of a grid's records; of the others it knows nothing."""
    return Comparison(grid, ledger(grid, records), tuple(left_out))


def _share_a_start(config: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether equal seeds mean equal backbone weights, images and order."""
    mine, theirs = science(config), science(other)
    return all(mine[section] == theirs[section] for section in ("dataset", "model", "recipe"))


def _one_model(config: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    mine, theirs = science(config), science(other)
    masks = [node["attention"].pop("mask", None) for node in (mine, theirs)]
    return mine == theirs and masks[0] != masks[1] and all(canonical(mask) in ONE_MODEL for mask in masks)
