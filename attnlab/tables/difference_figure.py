"""The figure of differences: row minus baseline with its 95 % interval."""

import textwrap

from matplotlib.figure import Figure

from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import metric_name
from attnlab.tables.statistics import Difference
from attnlab.tables.style import BAND, BLUE, GREY, INK, limits, plt

#: letters of a line below the axis
ABOUT_LETTERS = 60
#: (label, difference, colour)
Line = tuple[str, Difference, str]


def difference_figure(comparison: Comparison) -> Figure | None:
    """A panel a column of the table; in grey the pairs of rows that are one model. None without differences."""
    metric = comparison.metrics[0]
    panels: dict[str, list[Line]] = {}
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
    heights = [0.6 + 0.34 * len(lines) for lines in panels.values()]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(7.5, sum(heights) + 0.45 * len(heights)), squeeze=False, height_ratios=heights,
        sharex=True,
    )  # fmt: skip
    shown = [d for lines in panels.values() for _, d, _ in lines]
    window = limits([d.mean for d in shown], [_reach(d) for d in shown])
    window = min(window[0], -(comparison.margin or 0)), max(window[1], comparison.margin or 0)
    for axis, (column, lines) in zip(axes[:, 0], panels.items(), strict=True):
        _panel(axis, lines, window, comparison.margin)
        axis.set_title(column)
    blue = "; blue: below 5 % after Holm" if comparison.is_complete else "; unfinished, so no verdicts"
    grey = "; grey: rows that are one model, chance" if floors else ""
    band = "" if comparison.margin is None else f"; shaded: the margin, ±{comparison.margin:g}"
    about = textwrap.fill(f"95 % intervals, an arrow where one goes on{blue}{grey}{band}", ABOUT_LETTERS)
    head = f"{metric_name(metric)}: difference from {comparison.baseline}, left is better"
    axes[-1, 0].set_xlabel(f"{head}\n{about}")
    figure.tight_layout(h_pad=1.2)
    return figure


def _reach(d: Difference) -> float:
    return 0.0 if d.low is None or d.high is None else (d.high - d.low) / 2


def _panel(axis: plt.Axes, lines: list[Line], window: tuple[float, float], margin: float | None) -> None:
    low, high = min(window[0], 0), max(window[1], 0)
    for position, (_, d, colour) in enumerate(lines):
        ends = [min(max(end, low), high) for end in (d.mean - _reach(d), d.mean + _reach(d))]
        axis.plot(ends, [position] * 2, color=colour, lw=1.5, solid_capstyle="butt", zorder=2)
        for end, edge, mark in ((ends[0], low, "<"), (ends[1], high, ">")):
            cut = end == edge
            axis.plot(end, position, marker=mark if cut else "|", color=colour, markersize=5, ls="", clip_on=False)
        if low <= d.mean <= high:
            axis.plot(d.mean, position, "o", color=colour, markersize=5.5, zorder=3)
        else:
            edge, side, away = (low, "left", 8) if d.mean < low else (high, "right", -8)
            axis.annotate(
                f"{d.mean:+.2f}", (edge, position), (away, 0), textcoords="offset points", va="center", ha=side,
                fontsize=9,
            )  # fmt: skip
    if margin is not None:
        axis.axvspan(-margin, margin, color=BAND, lw=0, zorder=0)
    axis.axvline(0, color=GREY, lw=0.9, ls=(0, (3, 3)), zorder=1)
    axis.set_xlim(low, high)
    axis.set_yticks(range(len(lines)), [label for label, _, _ in lines])
    axis.set_ylim(len(lines) - 0.5, -0.5)
    axis.grid(axis="x")
    axis.set_axisbelow(True)
