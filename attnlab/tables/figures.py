"""A table's figures, in the house style: differences, accuracy against cost, curves."""

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
from attnlab.tables.footnotes import metric_name
from attnlab.tables.same_setup import timed_alike, usual_setup
from attnlab.tables.statistics import Difference
from attnlab.tables.style import BLUE, GREY, INK, STYLE

COSTS = {"params": "parameters", "macs": "multiply-accumulates an image", "seconds": "training time a run, s"}
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
HOUSE: Any = STYLE | {"svg.hashsalt": "attnlab", "svg.fonttype": "none"}
#: rows beyond which one figure cannot name all curves
MOST_CURVES = 10


NAMES = ("differences", "costs", "curves")


def figures(comparison: Comparison, output_dir: Path) -> dict[str, Figure]:
    """{name: figure} of what there is to draw: differences from the baseline, costs, and curves where logs exist."""
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
    """STEM_<name>.png and .svg, the same bytes for the same numbers."""
    paths = []
    with plt.rc_context(HOUSE):
        for name, figure in drawn.items():
            for suffix in ("png", "svg"):
                path = stem.with_name(f"{stem.name}_{name}.{suffix}")
                figure.savefig(path, metadata={"Date": None} if suffix == "svg" else {"Software": None})
                paths.append(path)
    return paths


def svg(figure: Figure) -> str:
    """A figure as an <svg> element, to stand inside a page."""
    text = io.StringIO()
    with plt.rc_context(HOUSE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def close(drawn: Mapping[str, Figure]) -> None:
    """Let go of the figures' memory."""
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
    there: dict[str, list[tuple[str, Difference, str]]] = {}
    for entry in comparison.entries(metric).values():
        if entry.difference:
            line = (f"{entry.cell.row}  (n={entry.difference.n})", entry.difference, BLUE if entry.bold else INK)
            there.setdefault(entry.cell.column, []).append(line)
    floors = comparison.floors(metric)
    for floor in floors:
        line = (f"{floor.rows[0]} \u2212 {floor.rows[1]}, one model  (n={floor.difference.n})", floor.difference, GREY)
        there.setdefault(floor.column, []).append(line)
    if not there:
        return None
    figure, axes = _panels([0.6 + 0.34 * len(lines) for lines in there.values()])
    for axis, (column, lines) in zip(axes, there.items(), strict=True):
        for position, (_, d, colour) in enumerate(lines):
            spread = None if d.low is None or d.high is None else [[d.mean - d.low], [d.high - d.mean]]
            axis.errorbar(d.mean, position, xerr=spread, fmt="o", color=colour, markersize=5.5, capsize=3, lw=1.5)
        if comparison.margin is not None:
            axis.axvspan(-comparison.margin, comparison.margin, color="#eef3f8", lw=0, zorder=0)
        axis.axvline(0, color=GREY, lw=0.9, ls=(0, (3, 3)), zorder=1)
        axis.set_yticks(range(len(lines)), [label for label, _, _ in lines])
        axis.set_ylim(len(lines) - 0.5, -0.5)
        axis.grid(axis="x")
        axis.set_axisbelow(True)
        axis.set_title(column)
    blue = "; blue: below 5 % after Holm" if comparison.whole else "; unfinished, so none is judged"
    grey = "; grey: rows that are one model, chance" if floors else ""
    band = "" if comparison.margin is None else f"; shaded: the margin, ±{comparison.margin:g}"
    axes[-1].set_xlabel(f"{metric_name(metric)}: difference from {comparison.baseline}, left is better\n"
                        f"95 % intervals{blue}{grey}{band}")  # fmt: skip
    figure.tight_layout(h_pad=1.2)
    return figure


def _costs(comparison: Comparison) -> Figure | None:
    """Error against parameters, multiply-accumulates and time: a colour a row, a panel row a column."""
    metric = comparison.metrics[0]
    found = [
        [e for e in comparison.entries(metric).values() if e.cell.column == column and e.runs.n]
        for column in comparison.grid.columns
    ]
    found = [entries for entries in found if entries]
    if not found:
        return None
    colours, usual = _colours(comparison.grid.rows), usual_setup(comparison.records)
    figure, axes = plt.subplots(len(found), 3, figsize=(9.5, 2.9 * len(found) + 0.3), squeeze=False, sharey="row")
    for line, entries in zip(axes, found, strict=True):
        for axis, (key, name) in zip(line, COSTS.items(), strict=True):
            runs = {e.cell.row: timed_alike(e.runs, usual) if key == "seconds" else e.runs for e in entries}
            costs = {row: cost for row, of_row in runs.items() if (cost := of_row.median(key)) is not None}
            unit, sign = next((u for u in UNITS if max(costs.values(), default=1) >= u[0]), UNITS[-1])
            unit, sign = (unit, f", {sign}") if key != "seconds" and sign else (1, "")
            for entry in entries:
                error = entry.runs.mean(metric)
                if entry.cell.row in costs and error is not None:
                    row = entry.cell.row
                    axis.errorbar(costs[row] / unit, error, yerr=entry.runs.sd(metric), fmt="o", lw=1.1,
                                  color=colours[row], markersize=5.5, capsize=2, label=row)  # fmt: skip
            axis.grid()
            axis.margins(0.12)
            axis.set_axisbelow(True)
            axis.xaxis.set_major_locator(MaxNLocator(4))
            axis.set_xlabel(name + sign)
        line[0].set_ylabel(metric_name(metric))
        line[0].set_title(entries[0].cell.column)
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
    """A run's curve; none where the folder holds another training of it than the record is of."""
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
