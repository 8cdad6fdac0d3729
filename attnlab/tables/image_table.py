"""A declared table over its test images: each cell's runs that have predictions, their agreement, their difference from
the baseline with an interval over seeds and one over images."""

from collections.abc import Mapping
from dataclasses import dataclass

from attnlab.records.predictions import Predictions
from attnlab.tables.comparison import Comparison
from attnlab.tables.grid import Cell
from attnlab.tables.over_images import Agreement, Interval, agreement, difference
from attnlab.tables.statistics import Difference, paired, welch

WHICH_IS_WHICH = (
    "Over seeds: would other trainings agree, on these test images? Over images: would other test images agree, about "
    "these trained nets? Both are 95 % intervals of the one difference. Neither includes the other, and the one over "
    "images alone says nothing of a module: a difference that is to hold for other trainings and other images needs at "
    "least both of them to leave out 0. Over seeds: paired t, or Welch's where backbone or recipe differ; over images: "
    "t over the images, of the difference at each image, mean over the seeds. Neither is corrected for the number of "
    "rows."
)


@dataclass(frozen=True)
class Line:
    """One cell. runs: those with predictions, by seed;  recorded: all;  over_seeds, over_images: of the same
    difference in points of error, row minus baseline, of the runs with predictions (where seeds pair, of the pairs);
    None of the baseline, and where one side has none."""

    cell: Cell
    runs: tuple[Predictions, ...]
    recorded: int
    agreement: Agreement | None
    over_seeds: Difference | None = None
    over_images: Interval | None = None


def lines(comparison: Comparison, found: Mapping[str, Predictions]) -> dict[tuple[str, str], Line]:
    """{(row, column): its line}. found: as predictions.of_records gives them."""
    cells = {(cell.row, cell.column): cell for cell in comparison.grid.cells}
    by_seed = {key: _by_seed(comparison, cell, found) for key, cell in cells.items()}
    result = {}
    for key, cell in cells.items():
        mine, other = by_seed[key], (comparison.baseline, cell.column)
        runs = tuple(mine.values())
        line = Line(cell, runs, comparison.runs(cell).n, agreement(runs))
        if key != other and other in cells and mine and by_seed[other]:
            line = _against(line, mine, by_seed[other], cells[other].start == cell.start)
        result[key] = line
    return result


def _by_seed(comparison: Comparison, cell: Cell, found: Mapping[str, Predictions]) -> dict[int, Predictions]:
    there = {run["config"]["seed"]: found.get(run["id"]) for run in comparison.runs(cell).runs}
    return {seed: run for seed, run in sorted(there.items()) if run is not None}


def _against(line: Line, mine: Mapping[int, Predictions], theirs: Mapping[int, Predictions], pairs: bool) -> Line:
    both = [seed for seed in mine if seed in theirs]
    if pairs and not both:
        return line
    row, baseline = (
        [runs[seed] for seed in both] if pairs else list(runs.values()) for runs in (mine, theirs)
    )  # as attnlab.tables.comparison takes them
    errors = [run.error for run in row], [run.error for run in baseline]
    over_seeds = paired(*errors) if pairs else welch(*errors)
    return Line(line.cell, line.runs, line.recorded, line.agreement, over_seeds, difference(row, baseline))


def how_many(comparison: Comparison, found: Mapping[str, Predictions]) -> str:
    """How many of the table's recorded runs have predictions, in a line; empty where all have."""
    have, runs = sum(run["id"] in found for run in comparison.records), len(comparison.records)
    return "" if have == runs else f"{have} of {runs} recorded runs have predictions; only these are counted here."
