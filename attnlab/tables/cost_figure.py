"""The figure of costs: error against parameters, multiply-accumulates, and latency or training time."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnlab.tables.cell_result import CellResult
from attnlab.tables.comparison import Comparison
from attnlab.tables.latency import heading
from attnlab.tables.metric_names import metric_name
from attnlab.tables.same_setup import most_common_setup, with_setup
from attnlab.tables.style import beside, legend, limits, palette, plt

COSTS = {"params": "parameters", "macs": "multiply-accumulates an image"}
UNITS: tuple[tuple[float, str], ...] = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))


def cost_figure(comparison: Comparison) -> Figure | None:
    """A colour a row, a panel row a column of the table; mean ± sample sd over seeds. None without runs.

    The third panel of a row shows the table's first column of latencies, if it has one that was measured, since
    training times depend on what else the machine did; otherwise the time of a run. Points of nearly equal cost stand
    side by side. A point outside the axes is an arrow at the edge with its value.
    """
    metric = comparison.metrics[0]
    results = [result for result in comparison.results(metric).values() if result.runs.mean(metric) is not None]
    columns = dict.fromkeys(result.cell.column for result in results)
    found = [[result for result in results if result.cell.column == column] for column in columns]
    if not found:
        return None
    colours = palette(comparison.grid.rows)
    figure, axes = plt.subplots(len(found), 3, figsize=(9.5, 2.9 * len(found) + 0.3), squeeze=False, sharey="row")
    for line, of_column in zip(axes, found, strict=True):
        panels = [(name, {r.cell.row: r.runs.median(key) for r in of_column}, UNITS) for key, name in COSTS.items()]
        panels.append((*_time(comparison, of_column), UNITS[-1:]))
        for axis, (name, found_costs, units) in zip(line, panels, strict=True):
            costs = {row: cost for row, cost in found_costs.items() if cost is not None}
            unit, sign = next((u for u in units if max(costs.values(), default=1) >= u[0]), units[-1])
            there = [result for result in of_column if result.cell.row in costs]
            if there:
                _panel(axis, there, [costs[result.cell.row] / unit for result in there], colours)
            axis.set_xlabel(f"{name}, {sign}" if sign else name)
        line[0].set_ylabel(metric_name(metric))
        line[0].set_title(of_column[0].cell.column)
    legend(figure, list(axes.flat), comparison.grid.rows)
    return figure


def _time(comparison: Comparison, results: list[CellResult]) -> tuple[str, dict[str, float | None]]:
    """(name, {row: its latency over the baseline's}); of a table without latencies, the times of runs."""
    for column in comparison.latency_columns:
        latencies = {result.cell.row: comparison.latency(column, result.cell) for result in results}
        if known := {row: latency.median for row, latency in latencies.items() if latency}:
            return heading(column, comparison.baseline), dict(known)
    setup = most_common_setup(comparison.records)
    return "training time a run, s", {r.cell.row: with_setup(r.runs, setup).median("seconds") for r in results}


def _panel(axis: plt.Axes, results: list[CellResult], costs: list[float], colours: dict) -> None:
    errors = [result.runs.mean(result.metric) or 0.0 for result in results]
    spread = [result.runs.sd(result.metric) or 0.0 for result in results]
    low, high = limits(errors, spread)
    for result, x, y, sd in zip(results, beside(costs), errors, spread, strict=True):
        style = {"color": colours[result.cell.row], "label": result.cell.row, "markersize": 5.5}
        if low <= y <= high:
            axis.errorbar(x, y, yerr=sd or None, fmt="o", lw=1.1, capsize=2, **style)
        else:
            edge = low if y < low else high
            axis.plot(x, edge, "v" if y < low else "^", clip_on=False, **style)
            axis.annotate(f"{y:.1f}", (x, edge), (0, 6 if y < low else -6), textcoords="offset points",
                          ha="center", va="bottom" if y < low else "top", fontsize=8)  # fmt: skip
    axis.grid()
    axis.margins(x=0.12)
    axis.set_ylim(low, high)
    axis.set_axisbelow(True)
    axis.xaxis.set_major_locator(MaxNLocator(3))
    axis.ticklabel_format(axis="x", useOffset=False)
