"""A grid compared: the runs of every cell, each row against the baseline, pairs of rows that are one model."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

from attnlab.records.predictions import Predictions
from attnlab.records.record import Record
from attnlab.tables.cell_result import CellResult, PaperNumber
from attnlab.tables.cell_runs import CellRuns
from attnlab.tables.grid import Cell, Grid
from attnlab.tables.latency import Latencies, Latency, is_latency
from attnlab.tables.noise_floor import NoiseFloor, are_one_model, are_twins
from attnlab.tables.over_images import Interval
from attnlab.tables.progress import Progress, progress_of
from attnlab.tables.same_setup import setup_difference
from attnlab.tables.statistics import Difference, holm, paired, welch

IGNORE_MASKS = ("Ignore", "Negated", "Reciprocal", "Exponential")

CellKey = tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """A grid with its records.

    left_out: records that were rejected, a line each;  over_images: (row, column) -> the interval of its difference
    over the test images (image_table.py), and predictions, by run id, for runs that keep them;  latencies: the file of
    latencies, or None;  unfinished: of selected records, a line about runs that have not finished.
    """

    grid: Grid
    progress: Progress
    left_out: tuple[str, ...] = ()
    over_images: Mapping[CellKey, Interval] = field(default_factory=dict, compare=False)
    predictions: Mapping[str, Predictions] = field(default_factory=dict, compare=False, repr=False)
    latencies: Latencies | None = field(default=None, compare=False)
    unfinished: str = ""
    _results: dict[str, dict[CellKey, CellResult]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of runs that the table declares."""
        return tuple(name for name in self.grid.table["metrics"] if not is_latency(name))

    @property
    def latency_columns(self) -> tuple[str, ...]:
        """The columns of latencies that the table declares. They are properties of a net, not of its runs."""
        return tuple(name for name in self.grid.table["metrics"] if is_latency(name))

    def latency(self, column: str, cell: Cell) -> Latency | None:
        """The latency of a cell's net over that of the baseline's; None where it was not measured."""
        baseline = cell if cell.row == self.baseline else self._baseline_of(cell)
        return self.latencies.of(column, cell.config, baseline.config) if self.latencies and baseline else None

    @property
    def baseline(self) -> str:
        return self.grid.table["baseline"]

    def runs(self, cell: Cell) -> CellRuns:
        """The recorded runs of a cell, by seed."""
        found = [self.progress.done.get((cell.row, cell.column, seed)) for seed in self.grid.seeds]
        return CellRuns(cell.row, [record for record in found if record is not None])

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """All records of the table, each once."""
        return tuple({record["id"]: record for record in self.progress.done.values()}.values())

    @property
    def comparisons(self) -> int:
        """How many differences the table declares, whether selected and recorded or not."""
        if self.grid.origin != "table":
            return max(1, sum(self._baseline_of(cell) is not None for cell in self.grid.cells))
        table = self.grid.table
        return max(1, (len(table["rows"]) - 1) * len(table["columns"]))

    def results(self, metric: str) -> dict[CellKey, CellResult]:
        """(row, column) -> its result; p values are adjusted by Holm over all differences that the table declares.

        A difference that is missing, or that gets no verdict, counts as p = 1. So selecting a part of a table, or
        looking at it before it is complete, makes no test easier to pass.
        """
        if metric in self._results:
            return self._results[metric]
        first = metric == self.metrics[0]
        differences = {(cell.row, cell.column): self._against_baseline(cell, metric) for cell in self.grid.cells}
        p_holm, p_equivalent = (
            self._adjusted(
                {key: getattr(d, name) for key, d in differences.items() if d and key not in self.other_setup}
            )
            for name in ("p", "p_equivalent")
        )
        results = self._results[metric] = {}
        for cell in self.grid.cells:
            key = (cell.row, cell.column)
            results[key] = CellResult(
                metric, first and self.is_complete and key not in self.other_setup, cell, self.runs(cell),
                self._wanted(cell), differences[key], p_holm.get(key), self.comparisons, self.paper(metric, cell),
                self.margin if first else None, p_equivalent.get(key),
            )  # fmt: skip
        return results

    def _wanted(self, cell: Cell) -> int:
        """How many runs of a cell there are to be."""
        return self.runs(cell).n if self.grid.origin == "records" else len(self.grid.seeds)

    def _adjusted(self, p_values: Mapping[CellKey, float | None]) -> dict[CellKey, float | None]:
        known = {key: p for key, p in p_values.items() if p is not None}
        missing = [1.0] * max(0, self.comparisons - len(known))
        return dict(zip(known, holm([*known.values(), *missing]), strict=False)) if known else {}

    @property
    def margin(self) -> float | None:
        """A row within ±margin counts as equivalent to the baseline; in the units of the first metric."""
        return self.grid.table.get("margin")

    @cached_property
    def is_complete(self) -> bool:
        """Whether every selected cell has the first metric for all seeds that the table declares.

        Selected records are complete: nothing says how many there were to be.
        """
        if self.grid.origin == "records":
            return True
        first = self.metrics[0]
        return all(len(self.runs(cell).by_seed(first)) >= self.grid.declared_seeds for cell in self.grid.cells)

    @cached_property
    def other_setup(self) -> dict[CellKey, str]:
        """(row, column) -> how its setup differs from the baseline's; only cells whose setup differs."""
        found = {}
        for cell in self.grid.cells:
            if baseline := self._baseline_of(cell):
                found[cell.row, cell.column] = setup_difference(self.runs(cell), self.runs(baseline))
        return {key: how for key, how in found.items() if how}

    def _baseline_of(self, cell: Cell) -> Cell | None:
        if cell.row == self.baseline:
            return None
        return next((c for c in self.grid.cells if c.row == self.baseline and c.column == cell.column), None)

    def _against_baseline(self, cell: Cell, metric: str) -> Difference | None:
        baseline = self._baseline_of(cell)
        return self._difference(cell, baseline, metric) if baseline else None

    def _difference(self, cell: Cell, other: Cell, metric: str) -> Difference | None:
        mine, theirs = self.runs(cell).by_seed(metric), self.runs(other).by_seed(metric)
        margin = self.margin if metric == self.metrics[0] else None
        if cell.start == other.start:
            both = sorted(mine.keys() & theirs.keys())
            return paired([mine[seed] for seed in both], [theirs[seed] for seed in both], margin) if both else None
        return welch(list(mine.values()), list(theirs.values()), margin) if mine and theirs else None

    def noise_floors(self, metric: str) -> list[NoiseFloor]:
        """The pairs of rows that are one model and have one setup, in every column with both; p adjusted by Holm."""
        found = []
        for cell, other in self._pairs_of_one_model:
            same_setup = not setup_difference(self.runs(cell), self.runs(other))
            if same_setup and (difference := self._difference(cell, other, metric)) is not None:
                twins = are_twins(cell.config, other.config)
                draws = [one.config["attention"].get("draw") for one in (cell, other)]
                found.append(((cell.row, other.row), twins, draws[0] == draws[1], cell.column, difference))
        adjusted = holm([difference.p for *_, difference in found])
        return [NoiseFloor(*pair, p_holm) for pair, p_holm in zip(found, adjusted, strict=True)]

    @cached_property
    def _pairs_of_one_model(self) -> tuple[tuple[Cell, Cell], ...]:
        """Pairs of cells of one column that are one model."""
        columns = [[cell for cell in self.grid.cells if cell.column == column] for column in self.grid.columns]
        pairs = [pair for cells in columns for pair in combinations(cells, 2)]
        return tuple(pair for pair in pairs if are_one_model(*(cell.config for cell in pair)))

    @property
    def has_noise_floor(self) -> bool:
        """Whether the table declares rows that are one model, recorded or not."""
        return bool(self._pairs_of_one_model)

    @property
    def compares_masks(self) -> bool:
        """Whether the table holds attention that attends and attention that ignores."""
        masks = [str(cell.config["attention"].get("mask", {}).get("_target_", "")) for cell in self.grid.cells]
        return any(m.endswith("Attend") for m in masks) and any(name in m for m in masks for name in IGNORE_MASKS)

    def paper(self, metric: str, cell: Cell) -> PaperNumber | None:
        """The number that the paper prints for a cell; None if it prints none."""
        block = self.grid.table["paper"].get(metric)
        printed = ((block or {}).get("values") or {}).get(cell.row, {}).get(cell.column)
        if block is None or printed is None:
            return None
        mean, _, sd = str(printed).partition("±")
        value = float(mean)
        error = 100 - value if block["gives"] == "accuracy" else value
        return PaperNumber(
            error, float(sd) if sd else None, block.get("runs"), block["source"], block["chosen"] == "test"
        )

    @property
    def missing(self) -> int:
        """How many runs are not recorded."""
        return len(self.progress.to_do)


def compare(grid: Grid, records: Iterable[Record], left_out: Sequence[str] = ()) -> Comparison:
    """Compare the rows of a grid by its records; records of other runs are ignored.

    A run whose images differ from those of most runs of its column is left out: it belongs to another experiment.
    """
    by_id = {record["id"]: record for record in records}
    images: dict[str, Counter[str]] = {}
    for (_, column, _), name in grid.run_ids.items():
        if name in by_id:
            images.setdefault(column, Counter())[by_id[name].get("data_hash", "")] += 1
    odd: dict[str, str] = {}
    for (_, column, _), name in grid.run_ids.items():
        data_hash = by_id[name].get("data_hash", "") if name in by_id else None
        if data_hash is not None and data_hash != images[column].most_common(1)[0][0]:
            odd[name] = f"{name}: its images (data_hash {data_hash}) differ from those of most runs of its column"
    kept = [record for name, record in by_id.items() if name not in odd]
    return Comparison(grid, progress_of(grid, kept), (*left_out, *odd.values()))
