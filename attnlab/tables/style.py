"""The house style of figures, and the picture of the overview: accuracy of each attention."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from attnlab.tables.overview import Table

INK, GREY, BLUE = "#1a1a1a", "#8a8a8a", "#2a6fb0"
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "ytick.left": False,
    "grid.color": "#e3e3e3",
    "figure.dpi": 150,
    "savefig.bbox": "tight",
    "text.parse_math": False,  # names may contain a $
}


def draw_accuracies(tables: Sequence[Table], path: Path) -> None:
    """Draw a panel for each table: the test accuracy of each attention, a dot for each seed, mean ± sample sd below."""
    heights = [0.8 + 0.36 * len(table.rows) for table in tables]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(tables), 1, figsize=(7, sum(heights) + 0.3 * len(tables)), squeeze=False, height_ratios=heights
        )
        for axis, table in zip(axes[:, 0], tables, strict=True):
            _panel(axis, table)
        figure.tight_layout(h_pad=1.5)
        figure.savefig(path)
        plt.close(figure)


def _panel(axis: plt.Axes, table: Table) -> None:
    positions = range(len(table.rows))
    for position, row in zip(positions, table.rows, strict=True):
        values = [100 - error for error in row.values("test/top1_error")]
        mean, sd = 100 - (row.mean("test/top1_error") or 0), row.sd("test/top1_error")
        axis.plot(values, [position + 0.18] * len(values), "o", color=GREY, markersize=3.5, alpha=0.8, zorder=2)
        axis.errorbar(mean, position - 0.08, xerr=sd, fmt="o", color=BLUE, markersize=6, capsize=3, lw=1.6, zorder=3)
    if table.rows and table.rows[0].label == "none":
        baseline = 100 - (table.rows[0].mean("test/top1_error") or 0)
        axis.axvline(baseline, color=GREY, lw=0.9, ls=(0, (3, 3)), zorder=1)
    axis.set_yticks(list(positions), [f"{row.label}  (n={row.n})" for row in table.rows])
    axis.set_ylim(len(table.rows) - 0.5, -0.5)
    axis.margins(x=0.12)
    axis.grid(axis="x")
    axis.set_axisbelow(True)
    axis.set_xlabel(f"test accuracy, %   (blue: mean ± sample sd, grey: seeds; chance {100 - table.chance:.0f} %)")
    axis.set_title(table.title, wrap=True)
