"""Curves with bands over seeds: validation error by epoch, and test error over the number that a sweep varies."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnlab.records.record import Record
from attnlab.tables.cell_runs import CellRuns
from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import metric_name
from attnlab.tables.style import GREY, legend, palette, plt

#: one figure shows the curves of the first rows only
MOST_CURVES = 10
#: a scale is logarithmic if its largest number is at least so many times the smallest
LOGARITHMIC_FROM = 8


def curve_figure(comparison: Comparison, output_dir: Path) -> Figure | None:
    """Validation error by epoch, mean and band (± sample sd) over seeds, a panel a column. None without log.csv."""
    colours = palette(comparison.grid.rows)
    found: dict[str, dict[str, np.ndarray]] = {}
    for cell in comparison.grid.cells[: MOST_CURVES * len(comparison.grid.columns)]:
        logs = [validation_errors(output_dir / run["id"], run) for run in comparison.runs(cell).runs]
        logs = [log for log in logs if len(log) > 1]
        if logs and len({len(log) for log in logs}) == 1:
            found.setdefault(cell.column, {})[cell.row] = np.array(logs)
    if not found:
        return None
    figure, axes = plt.subplots(1, len(found), figsize=(1.6 + 4.2 * len(found), 3.4), squeeze=False)
    for axis, (column, curves) in zip(axes[0], found.items(), strict=True):
        for row, curve in curves.items():
            draw_curve(axis, curve, colours[row], row)
        axis.set_ylim(*_error_limits(list(curves.values())))
        axis.set_xlabel("epoch")
        axis.set_title(column)
    several = any(len(curve) > 1 for curves in found.values() for curve in curves.values())
    axes[0][0].set_ylabel("validation error %" + "\nmean and ± sd over seeds" * several)
    legend(figure, list(axes.flat), comparison.grid.rows)
    return figure


def draw_curve(axis: plt.Axes, logs: np.ndarray, colour: object, label: str) -> None:
    """One line (epochs) with its band over seeds. logs: (seeds, epochs)."""
    epochs, mean = np.arange(1, logs.shape[1] + 1), logs.mean(axis=0)
    axis.plot(epochs, mean, color=colour, lw=1.6, label=label)
    if len(logs) > 1:
        sd = logs.std(axis=0, ddof=1)
        axis.fill_between(epochs, mean - sd, mean + sd, color=colour, alpha=0.16, lw=0)
    axis.grid()
    axis.set_axisbelow(True)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _error_limits(curves: Sequence[np.ndarray]) -> tuple[float, float]:
    """Of the bands after an eighth of the epochs, without runs that diverged: both would flatten the rest."""
    settled = [curve[:, curve.shape[1] // 8 :] for curve in curves]
    means = [curve.mean(axis=0) for curve in settled]
    spread = [curve.std(axis=0, ddof=1) if len(curve) > 1 else 0.0 for curve in settled]
    tops = [float((mean + sd).max()) for mean, sd in zip(means, spread, strict=True)]
    low = min(float((mean - sd).min()) for mean, sd in zip(means, spread, strict=True))
    high = max(top for top in tops if top <= 2 * float(np.median(tops)))
    margin = 0.06 * (high - low) or 1.0
    return max(0.0, low - margin), high + margin


def validation_errors(folder: Path, record: Record) -> list[float]:
    """A run's validation errors by epoch; empty if its folder is missing, or holds a different training of the run."""
    try:
        if json.loads((folder / "result.json").read_text())["checksum"] != record["checksum"]:
            return []
        with (folder / "log.csv").open() as file:
            return [float(row["val/top1_error"]) for row in csv.DictReader(file) if row.get("val/top1_error")]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def number_figure(comparison: Comparison) -> Figure | None:
    """Test error over the one number that varies: mean and 95 % t interval over seeds, if there are several; None
    if no number varies.

    A cell without this number, such as the net without attention, is a horizontal line.
    """
    axis_of, metric = comparison.grid.axis, comparison.metrics[0]
    if axis_of is None:
        return None
    lines: dict[str, dict[float | None, CellRuns]] = {}
    for cell in comparison.grid.cells:
        line, number = axis_of.points[cell.row, cell.column]
        if (runs := comparison.runs(cell)).values(metric):
            lines.setdefault(line, {})[number] = runs
    if not lines:
        return None
    figure, axis = plt.subplots(figsize=(6.4, 3.8))
    colours = palette(list(lines))
    for line, cells in lines.items():
        _line(axis, line, cells, metric, colours[line])
    numbers = sorted({number for cells in lines.values() for number in cells if number is not None})
    if numbers and numbers[0] > 0 and numbers[-1] >= LOGARITHMIC_FROM * numbers[0]:
        axis.set_xscale("log")
    axis.set_xticks(numbers, [f"{number:g}" for number in numbers])
    axis.minorticks_off()
    axis.grid()
    axis.set_axisbelow(True)
    axis.set_xlabel(axis_of.name)
    several = any(len(runs.values(metric)) > 1 for cells in lines.values() for runs in cells.values())
    axis.set_ylabel(metric_name(metric) + "\nmean and 95 % interval over seeds" * several)
    if any(lines):
        legend(figure, [axis], list(lines))
    return figure


def _line(axis: plt.Axes, label: str, cells: Mapping[float | None, CellRuns], metric: str, colour: object) -> None:
    if (reference := cells.get(None)) is not None:
        axis.axhline(reference.mean(metric) or 0.0, color=GREY, lw=1.1, ls=(0, (3, 3)), label=label or None)
    numbers = sorted(number for number in cells if number is not None)
    if not numbers:
        return
    means = [cells[number].mean(metric) or 0.0 for number in numbers]
    bands = [_interval(cells[number].values(metric)) for number in numbers]
    axis.plot(numbers, means, "o-", color=colour, lw=1.5, markersize=4.5, label=label or None)
    axis.fill_between(numbers, [low for low, _ in bands], [high for _, high in bands], color=colour, alpha=0.16, lw=0)


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % t interval of a mean; the mean itself for one value, or without spread."""
    from statsmodels.stats.weightstats import DescrStatsW

    mean = float(np.mean(values))
    if len(values) < 2 or not np.std(values) > 0:
        return mean, mean
    low, high = DescrStatsW(np.asarray(values)).tconfint_mean(0.05)
    return float(low), float(high)
