"""A declared table over its test images: for each cell the runs with predictions, their agreement, and the difference
from the baseline with one interval over seeds and one over images."""

from collections.abc import Mapping
from dataclasses import dataclass

from attnlab.records.predictions import Predictions
from attnlab.tables.comparison import Comparison
from attnlab.tables.grid import Cell
from attnlab.tables.over_images import Agreement, Interval, agreement, difference
from attnlab.tables.statistics import Difference, paired, welch

TWO_INTERVALS = (
    "Both 95 % intervals are of one difference. Over seeds: would other trainings agree, on these test images? (paired "
    "t, or Welch's where backbone or recipe differ). Over images: would other test images agree, for these trained "
    "nets? (t over the images, of the difference at each image, mean over the seeds). Neither includes the other, and "
    "the one over images says nothing about a module by itself. A difference that is to hold for other trainings and "
    "other images needs both intervals, at least, to exclude 0. Neither is corrected for the number of rows."
)


@dataclass(frozen=True)
class CellOverImages:
    """One cell.

    runs: those with predictions, by seed;  recorded: number of all recorded runs;  over_seeds, over_images: intervals
    of one difference in points of error, row minus baseline, of the runs with predictions (only complete pairs where
    seeds pair); None for the baseline, and where one side has no predictions.
    """

    cell: Cell
    runs: tuple[Predictions, ...]
    recorded: int
    agreement: Agreement | None
    over_seeds: Difference | None = None
    over_images: Interval | None = None


def cells_over_images(
    comparison: Comparison, predictions: Mapping[str, Predictions]
) -> dict[tuple[str, str], CellOverImages]:
    """{(row, column): its cell}. predictions: by run id, as records.predictions.of_records returns them."""
    cells = {(cell.row, cell.column): cell for cell in comparison.grid.cells}
    by_seed = {key: _by_seed(comparison, cell, predictions) for key, cell in cells.items()}
    result = {}
    for key, cell in cells.items():
        mine, baseline = by_seed[key], (comparison.baseline, cell.column)
        runs = tuple(mine.values())
        over_seeds, over_images = None, None
        if key != baseline and baseline in cells:
            pairs = cells[baseline].start == cell.start
            over_seeds, over_images = _against(mine, by_seed[baseline], pairs)
        recorded = comparison.runs(cell).n
        result[key] = CellOverImages(cell, runs, recorded, agreement(runs), over_seeds, over_images)
    return result


def _by_seed(comparison: Comparison, cell: Cell, predictions: Mapping[str, Predictions]) -> dict[int, Predictions]:
    found = {run["config"]["seed"]: predictions.get(run["id"]) for run in comparison.runs(cell).runs}
    return {seed: run for seed, run in sorted(found.items()) if run is not None}


def _against(
    mine: Mapping[int, Predictions], baseline: Mapping[int, Predictions], pairs: bool
) -> tuple[Difference | None, Interval | None]:
    """Row minus baseline, over seeds and over images; paired as attnlab.tables.comparison pairs them."""
    if pairs:
        both = [seed for seed in mine if seed in baseline]
        row, other = ([runs[seed] for seed in both] for runs in (mine, baseline))
    else:
        row, other = list(mine.values()), list(baseline.values())
    if not row or not other:
        return None, None
    errors = [run.error for run in row], [run.error for run in other]
    return (paired(*errors) if pairs else welch(*errors)), difference(row, other)


def missing_predictions(comparison: Comparison, predictions: Mapping[str, Predictions]) -> str:
    """A line on how many of the table's recorded runs have predictions; empty if all have."""
    having, runs = sum(run["id"] in predictions for run in comparison.records), len(comparison.records)
    return "" if having == runs else f"{having} of {runs} recorded runs have predictions; the page uses only these."
