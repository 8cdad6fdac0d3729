"""The figure of costs: error against parameters, multiply-accumulates and training time."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnlab.tables.cell_result import CellResult
from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import metric_name
from attnlab.tables.same_setup import most_common_setup, with_setup
from attnlab.tables.style import beside, legend, limits, palette, plt

COSTS = {"params": "parameters", "macs": "multiply-accumulates an image", "seconds": "training time a run, s"}
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))


def cost_figure(comparison: Comparison) -> Figure | None:
    """A colour a row, a panel row a column of the table; mean ± sample sd over seeds. None without runs.

    Points of nearly equal cost stand side by side. A point outside the axes is an arrow at the edge with its value.
    """
    metric = comparison.metrics[0]
    results = [result for result in comparison.results(metric).values() if result.runs.mean(metric) is not None]
    columns = dict.fromkeys(result.cell.column for result in results)
    found = [[result for result in results if result.cell.column == column] for column in columns]
    if not found:
        return None
    colours, setup = palette(comparison.grid.rows), most_common_setup(comparison.records)
    figure, axes = plt.subplots(len(found), 3, figsize=(9.5, 2.9 * len(found) + 0.3), squeeze=False, sharey="row")
    for line, of_column in zip(axes, found, strict=True):
        for axis, (key, name) in zip(line, COSTS.items(), strict=True):
            runs = {r.cell.row: with_setup(r.runs, setup) if key == "seconds" else r.runs for r in of_column}
            costs = {row: cost for row, of_row in runs.items() if (cost := of_row.median(key)) is not None}
            unit, sign = next((u for u in UNITS if max(costs.values(), default=1) >= u[0]), UNITS[-1])
            unit, sign = (unit, f", {sign}") if key != "seconds" and sign else (1, "")
            there = [result for result in of_column if result.cell.row in costs]
            if there:
                _panel(axis, there, [costs[result.cell.row] / unit for result in there], colours)
            axis.set_xlabel(name + sign)
        line[0].set_ylabel(metric_name(metric))
        line[0].set_title(of_column[0].cell.column)
    legend(figure, list(axes.flat), comparison.grid.rows)
    return figure


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
