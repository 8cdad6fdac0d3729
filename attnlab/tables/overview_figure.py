"""The picture of all records: the test error of each row."""

from collections.abc import Sequence
from pathlib import Path

from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import metric_name
from attnlab.tables.style import BLUE, GREY, STYLE, limits, plt


def draw_errors(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw a panel for each column of each table: the error of every row, a dot a seed, mean ± sample sd above them."""
    panels = [(comparison, column) for comparison in comparisons for column in comparison.grid.columns]
    heights = [0.8 + 0.36 * sum(cell.column == column for cell in c.grid.cells) for c, column in panels]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(panels), 1, figsize=(7, sum(heights) + 0.3 * len(panels)), squeeze=False, height_ratios=heights
        )
        for axis, (comparison, column) in zip(axes[:, 0], panels, strict=True):
            _panel(axis, comparison, column)
        figure.tight_layout(h_pad=1.5)
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)


def _panel(axis: plt.Axes, comparison: Comparison, column: str) -> None:
    metric = comparison.metrics[0]
    rows = [r for r in comparison.results(metric).values() if r.cell.column == column and r.runs.values(metric)]
    means = [row.runs.mean(metric) or 0.0 for row in rows]
    low, high = limits(means, [row.runs.sd(metric) or 0.0 for row in rows])
    for position, (row, mean) in enumerate(zip(rows, means, strict=True)):
        values = row.runs.values(metric)
        axis.plot(values, [position + 0.18] * len(values), "o", color=GREY, markersize=3.5, alpha=0.8, zorder=2)
        axis.errorbar(mean, position - 0.08, xerr=row.runs.sd(metric), fmt="o", color=BLUE, markersize=6, capsize=3,
                      lw=1.6, zorder=3)  # fmt: skip
        if not low <= mean <= high:
            edge, left = (low, True) if mean < low else (high, False)
            axis.annotate(f"{'◂ ' if left else ''}{mean:.1f}{'' if left else ' ▸'}", (edge, position), va="center",
                          ha="left" if left else "right", fontsize=9)  # fmt: skip
        if row.cell.row == comparison.baseline:
            axis.axvline(mean, color=GREY, lw=0.9, ls=(0, (3, 3)), zorder=1)
    values = [value for row in rows for value in row.runs.values(metric) if low <= value <= high]
    axis.set_xlim(min(low, *values) if values else low, max(high, *values) if values else high)
    axis.set_yticks(range(len(rows)), [f"{row.cell.row}  (n={row.runs.n})" for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(axis="x")
    axis.set_axisbelow(True)
    axis.set_xlabel(f"test {metric_name(metric)}   (blue: mean ± sample sd, grey: seeds)")
    title = comparison.grid.table["title"]
    axis.set_title(f"{title}: {column}" if column else title, wrap=True)
