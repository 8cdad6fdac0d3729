"""A table's figures: differences from the baseline, error against cost, validation curves."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnlab.records.record import Record
from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import metric_name
from attnlab.tables.same_setup import most_common_setup, with_setup
from attnlab.tables.statistics import Difference
from attnlab.tables.style import BLUE, GREY, INK, STYLE

COSTS = {"params": "parameters", "macs": "multiply-accumulates an image", "seconds": "training time a run, s"}
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
#: the house style; SVG text stays text, and the same figure gives the same bytes
HOUSE: Any = STYLE | {"svg.hashsalt": "attnlab", "svg.fonttype": "none"}
#: one figure shows the curves of the first rows only
MOST_CURVES = 10
#: the figures of this file
NAMES = ("differences", "costs", "curves")


def figures(comparison: Comparison, output_dir: Path) -> dict[str, Figure]:
    """{name: figure} of the figures that the records allow; curves need the runs' log.csv in output_dir."""
    drawn = {}
    with plt.rc_context(HOUSE):
        if figure := _differences(comparison):
            drawn["differences"] = figure
        if figure := _costs(comparison):
            drawn["costs"] = figure
        if figure := _curves(comparison, output_dir):
            drawn["curves"] = figure
    return drawn


def write(drawn: Mapping[str, Figure], stem: Path) -> list[Path]:
    """Write STEM_<name>.png and .svg, the same bytes for the same numbers."""
    paths = []
    with plt.rc_context(HOUSE):
        for name, figure in drawn.items():
            for suffix in ("png", "svg"):
                path = stem.with_name(f"{stem.name}_{name}.{suffix}")
                figure.savefig(path, metadata={"Date": None} if suffix == "svg" else {"Software": None})
                paths.append(path)
    return paths


def svg(figure: Figure) -> str:
    """A figure as an <svg> element for an HTML page."""
    text = io.StringIO()
    with plt.rc_context(HOUSE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    document = text.getvalue()
    return document[document.index("<svg") :]


def close(drawn: Mapping[str, Figure]) -> None:
    """Free the figures' memory."""
    for figure in drawn.values():
        plt.close(figure)


def _panels(heights: Sequence[float], width: float = 7.5) -> tuple[Figure, list[plt.Axes]]:
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(width, sum(heights) + 0.45 * len(heights)),
        squeeze=False,
        height_ratios=heights,
        sharex=True,
    )
    return figure, list(axes[:, 0])


def _differences(comparison: Comparison) -> Figure | None:
    """Row minus baseline with its 95 % interval, a panel a column; in grey the pairs of rows that are one model."""
    metric = comparison.metrics[0]
    panels: dict[str, list[tuple[str, Difference, str]]] = {}
    for result in comparison.results(metric).values():
        if result.difference:
            label = f"{result.cell.row}  (n={result.difference.n})"
            line = (label, result.difference, BLUE if result.bold else INK)
            panels.setdefault(result.cell.column, []).append(line)
    floors = comparison.noise_floors(metric)
    for floor in floors:
        line = (f"{floor.rows[0]} \u2212 {floor.rows[1]}, one model  (n={floor.difference.n})", floor.difference, GREY)
        panels.setdefault(floor.column, []).append(line)
    if not panels:
        return None
    figure, axes = _panels([0.6 + 0.34 * len(lines) for lines in panels.values()])
    for axis, (column, lines) in zip(axes, panels.items(), strict=True):
        for position, (_, d, colour) in enumerate(lines):
            error_bar = None if d.low is None or d.high is None else [[d.mean - d.low], [d.high - d.mean]]
            axis.errorbar(d.mean, position, xerr=error_bar, fmt="o", color=colour, markersize=5.5, capsize=3, lw=1.5)
        if comparison.margin is not None:
            axis.axvspan(-comparison.margin, comparison.margin, color="#eef3f8", lw=0, zorder=0)
        axis.axvline(0, color=GREY, lw=0.9, ls=(0, (3, 3)), zorder=1)
        axis.set_yticks(range(len(lines)), [label for label, _, _ in lines])
        axis.set_ylim(len(lines) - 0.5, -0.5)
        axis.grid(axis="x")
        axis.set_axisbelow(True)
        axis.set_title(column)
    blue = "; blue: below 5 % after Holm" if comparison.is_complete else "; unfinished, so no verdicts"
    grey = "; grey: rows that are one model, chance" if floors else ""
    band = "" if comparison.margin is None else f"; shaded: the margin, ±{comparison.margin:g}"
    axes[-1].set_xlabel(f"{metric_name(metric)}: difference from {comparison.baseline}, left is better\n"
                        f"95 % intervals{blue}{grey}{band}")  # fmt: skip
    figure.tight_layout(h_pad=1.2)
    return figure


def _costs(comparison: Comparison) -> Figure | None:
    """Error against parameters, multiply-accumulates and time: a colour a row, a panel row a column."""
    metric = comparison.metrics[0]
    results = [result for result in comparison.results(metric).values() if result.runs.n]
    columns = dict.fromkeys(result.cell.column for result in results)
    found = [[result for result in results if result.cell.column == column] for column in columns]
    if not found:
        return None
    colours, setup = _colours(comparison.grid.rows), most_common_setup(comparison.records)
    figure, axes = plt.subplots(len(found), 3, figsize=(9.5, 2.9 * len(found) + 0.3), squeeze=False, sharey="row")
    for line, of_column in zip(axes, found, strict=True):
        for axis, (key, name) in zip(line, COSTS.items(), strict=True):
            runs = {r.cell.row: with_setup(r.runs, setup) if key == "seconds" else r.runs for r in of_column}
            costs = {row: cost for row, of_row in runs.items() if (cost := of_row.median(key)) is not None}
            unit, sign = next((u for u in UNITS if max(costs.values(), default=1) >= u[0]), UNITS[-1])
            unit, sign = (unit, f", {sign}") if key != "seconds" and sign else (1, "")
            for result in of_column:
                row, error = result.cell.row, result.runs.mean(metric)
                if row in costs and error is not None:
                    axis.errorbar(costs[row] / unit, error, yerr=result.runs.sd(metric), fmt="o", lw=1.1,
                                  color=colours[row], markersize=5.5, capsize=2, label=row)  # fmt: skip
            axis.grid()
            axis.margins(0.12)
            axis.set_axisbelow(True)
            axis.xaxis.set_major_locator(MaxNLocator(4))
            axis.set_xlabel(name + sign)
        line[0].set_ylabel(metric_name(metric))
        line[0].set_title(of_column[0].cell.column)
    _legend(figure, list(axes.flat))
    return figure


def _curves(comparison: Comparison, output_dir: Path) -> Figure | None:
    """Validation error by epoch, the mean over seeds, a panel a column."""
    colours = _colours(comparison.grid.rows)
    found: dict[str, dict[str, np.ndarray]] = {}
    for cell in comparison.grid.cells[: MOST_CURVES * len(comparison.grid.columns)]:
        logs = [_log(output_dir / run["id"], run) for run in comparison.runs(cell).runs]
        logs = [log for log in logs if len(log) > 1]
        if logs and len({len(log) for log in logs}) == 1:
            found.setdefault(cell.column, {})[cell.row] = np.mean(logs, axis=0)
    if not found:
        return None
    figure, axes = plt.subplots(1, len(found), figsize=(1.6 + 4.2 * len(found), 3.4), squeeze=False)
    for axis, (column, curves) in zip(axes[0], found.items(), strict=True):
        for row, curve in curves.items():
            axis.plot(range(1, len(curve) + 1), curve, color=colours[row], lw=1.6, label=row)
        axis.grid()
        axis.set_axisbelow(True)
        axis.set_xlabel("epoch")
        axis.set_title(column)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0][0].set_ylabel("validation error %, mean over seeds")
    _legend(figure, list(axes.flat))
    return figure


def _log(folder: Path, record: Record) -> list[float]:
    """A run's validation errors by epoch; empty if its folder is missing, or holds a different training of the run."""
    try:
        if json.loads((folder / "result.json").read_text())["checksum"] != record["checksum"]:
            return []
        with (folder / "log.csv").open() as file:
            return [float(row["val/top1_error"]) for row in csv.DictReader(file) if row.get("val/top1_error")]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _colours(rows: Sequence[str]) -> dict[str, Any]:
    palette = plt.get_cmap("tab10" if len(rows) <= 10 else "turbo")
    return {row: palette(i if len(rows) <= 10 else i / (len(rows) - 1)) for i, row in enumerate(rows)}


def _legend(figure: Figure, axes: Iterable[plt.Axes]) -> None:
    named: dict[str, Artist] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        named |= {str(label): handle for label, handle in zip(labels, handles, strict=True)}
    figure.tight_layout()
    figure.legend(list(named.values()), list(named), loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
