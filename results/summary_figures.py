"""The two figures of results/README.md: differences from none with the band of chance, and differences over latency."""

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy import stats

from attnlab.tables.cell_result import CellResult
from attnlab.tables.comparison import Comparison
from attnlab.tables.latency import Latency
from attnlab.tables.metric_names import metric_name
from attnlab.tables.noise_floor import are_one_model
from attnlab.tables.statistics import Difference
from attnlab.tables.style import BLUE, GREY, INK, LINE, STYLE, plt

BATCH_1 = "cost/latency_b1"
#: columns of results/bench/latency.json
RUNTIMES = {BATCH_1: "PyTorch", f"{BATCH_1}_compiled": "torch.compile", f"{BATCH_1}_onnx": "ONNX Runtime"}
SHADE = "#dce6f1"


def draw_differences(tables: Iterable[Comparison], path: Path) -> None:
    """A panel a table: each row minus none with its 95 % interval; shaded: chance, by rows that are one model."""
    tables = list(tables)
    found = [[r for r in c.results(c.metrics[0]).values() if r.difference] for c in tables]
    heights = [0.6 + 0.3 * len(rows) for rows in found]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(tables), 1, figsize=(7.5, sum(heights) + 1.5), squeeze=False, height_ratios=heights
        )
        for axis, compared, rows in zip(axes[:, 0], tables, found, strict=True):
            if half := chance(compared):
                axis.axvspan(-half, half, color=SHADE, lw=0, zorder=0)
            for edge in (-compared.margin, compared.margin):
                axis.axvline(edge, color=GREY, lw=0.9, ls=":", zorder=1)
            axis.axvline(0, color=GREY, lw=0.9, zorder=1)
            for position, result in enumerate(rows):
                d, colour, face, marker = result.difference, *style(result, compared)
                if d.low is not None:
                    axis.plot([d.low, d.high], [position] * 2, color=colour, lw=1.6)
                axis.plot(d.mean, position, marker, color=colour, markerfacecolor=face, markersize=5.5)
            seeds = ["" if compared.is_complete else f"  ({r.difference.n} seeds)" for r in rows]
            axis.set_yticks(range(len(rows)), [label(r.cell.row) + n for r, n in zip(rows, seeds, strict=True)])
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.grid(axis="x")
            axis.set_axisbelow(True)
            axis.set_title(title(compared, compared.grid.table["title"]))
        axes[-1, 0].set_xlabel(
            f"\N{LEFTWARDS ARROW} better      {metric_name(tables[0].metrics[0])} minus that of ResNet-8,"
            "\nin points, with its 95 % interval (not corrected)"
        )
        marks = [
            Line2D([], [], color=INK, marker="o", lw=1.6, label="a module"),
            Line2D(
                [], [], color=INK, marker="o", lw=1.6, markerfacecolor="white", label="same model as an earlier row"
            ),
            Line2D([], [], color=GREY, marker="s", lw=1.6, label="more layers, no attention"),
            Patch(color=SHADE, label="95 % of differences between rows of one model"),
            Line2D([], [], color=GREY, ls=":", lw=0.9, label="margin of equivalence"),
        ]
        if any(result.bold for rows in found for result in rows):
            marks.append(Line2D([], [], color=BLUE, marker="o", lw=1.6, label="significant (5 %, Holm)"))
        figure.tight_layout(h_pad=1.2)
        figure.legend(handles=marks, loc="upper center", bbox_to_anchor=(0.5, 0), ncol=3, frameon=False, fontsize=9)
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)


def draw_latency(tables: Iterable[Comparison], path: Path) -> None:
    """The difference from none over the latency of one image: a row of panels a table, a panel a runtime.

    Only tables whose nets were measured are drawn. Rows that are the model of a row above them are left out. The dashed
    line joins the nets without attention.
    """
    tables = [c for c in tables if any(c.latency(BATCH_1, cell) for cell in c.grid.cells)]
    if not tables:
        return
    with plt.rc_context(STYLE | {"axes.spines.left": True}):
        figure, axes = plt.subplots(
            len(tables), len(RUNTIMES), figsize=(10.5, 3 * len(tables)), squeeze=False, sharex=True, sharey="row"
        )
        for row, compared in zip(axes, tables, strict=True):
            for axis, (column, runtime) in zip(row, RUNTIMES.items(), strict=True):
                draw_runtime(axis, compared, column)
                axis.set_title(runtime)
                axis.tick_params(labelbottom=True)
            row[0].set_ylabel("test error minus that of ResNet-8,\npoints; lower is better")
        for axis in axes[-1]:
            axis.set_xlabel("latency of one image / ResNet-8's")
        axes[0, 0].margins(x=0.3)
        figure.align_ylabels(axes[:, 0])
        figure.tight_layout(h_pad=4)
        for row, compared in zip(axes, tables, strict=True):
            corner = row[0].get_position()
            heading = title(compared, str(compared.grid.table["title"]))
            figure.text(corner.x0, corner.y1 + 0.11 / len(tables), heading, fontsize=11)
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)


def draw_runtime(axis: Axes, compared: Comparison, column: str) -> None:
    """One panel of draw_latency. column: of the file of latencies."""
    plain, placed = [], []
    for result in compared.results(compared.metrics[0]).values():
        latency, d = compared.latency(column, result.cell), result.difference
        known = d is not None or result.cell.row == compared.baseline
        if latency is not None and known and result.cell.row not in repeats(compared):
            placed.append((result, latency, d.mean if d else 0.0))
    for result, latency, y in placed:
        d = result.difference
        if is_plain(result):
            plain.append((latency.median, y))
        left = d is None or any(covers(*other, latency.median, y) for other in placed)
        rise, align = (0, "center") if d is None else (-4, "top") if left and y < 0 else (4, "bottom")
        name = result.cell.row.removeprefix("none, ") if d else "ResNet-8"
        colour, face, marker = style(result, compared)
        if d and d.low is not None:
            axis.plot([latency.median] * 2, [d.low, d.high], color=colour, lw=1.2)
        axis.plot([latency.low, latency.high], [y, y], color=colour, lw=1.2)
        axis.plot(latency.median, y, marker, color=colour, markerfacecolor=face, markersize=5)
        axis.annotate(
            name, (latency.median, y), (-5 if left else 5, rise), fontsize=8.5,
            textcoords="offset points", color=colour, va=align, ha="right" if left else "left",
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip
    axis.plot(*zip(*sorted(plain), strict=True), color=GREY, lw=1.1, ls=(0, (4, 3)), zorder=1)
    if len(plain) > 1:
        (x, y), (end, last) = min(plain), max(plain)
        axis.annotate("depth", ((x + 2 * end) / 3, (y + 2 * last) / 3), (-5, -3), fontsize=8.5, color=GREY, ha="right",
                      va="top", textcoords="offset points")  # fmt: skip
    axis.axhline(0, color=LINE, lw=0.9, zorder=0)
    axis.grid()
    axis.set_axisbelow(True)


def chance(compared: Comparison) -> float | None:
    """Half the band in which 95 % of the mean differences over n seeds lie between two rows that are one model.

    t(0.975, df) sqrt(v / n): v is the mean square of the paired differences of a group of k such rows over n seeds,
    since their true mean is 0, pooled over the groups by their degrees of freedom, (k - 1) n; df is their sum; n is the
    first pair's. Assumes normal errors, one variance for all groups, paired rows and one column.
    """
    floors = [floor for floor in compared.noise_floors(compared.metrics[0]) if floor.difference.sd]
    if not floors:
        return None
    groups: dict[frozenset[str], list[Difference]] = {}
    for floor in floors:
        group = frozenset(row for other in floors if floor.rows[0] in other.rows for row in other.rows)
        groups.setdefault(group, []).append(floor.difference)
    df = [(len(group) - 1) * pairs[0].n for group, pairs in groups.items()]
    variances = [np.mean([d.mean**2 + d.sd**2 * (d.n - 1) / d.n for d in pairs]) for pairs in groups.values()]
    pooled = np.average(variances, weights=df)
    return float(stats.t.ppf(0.975, sum(df)) * np.sqrt(pooled / floors[0].difference.n))


def style(result: CellResult, compared: Comparison) -> tuple[str, str, str]:
    """Colour, fill and marker of a row: of a module, of a second row of one model, of a net without attention."""
    if is_plain(result):
        return (BLUE, BLUE, "s") if result.bold else (GREY, GREY, "s")
    colour = BLUE if result.bold else INK
    return colour, "white" if result.cell.row in repeats(compared) else colour, "o"


def title(compared: Comparison, text: str) -> str:
    """The text, with how far an unfinished table is."""
    return text if compared.is_complete else f"{text}  ({progress(compared)}: no verdict)"


def progress(compared: Comparison) -> str:
    """`38 of 60 runs are recorded`."""
    total = len(set(compared.grid.run_ids.values()))
    return f"{total - compared.missing} of {total} runs are recorded"


def is_plain(result: CellResult) -> bool:
    """Whether a row has no attention."""
    return result.cell.row.startswith("none")


def repeats(compared: Comparison) -> set[str]:
    """The rows that are the model of a row above them: twins, and inverses that are the same function."""
    pairs = combinations(compared.grid.cells, 2)
    return {other.row for cell, other in pairs if are_one_model(cell.config, other.config)}


def label(row: str) -> str:
    """`ResNet-14 without attention` for `none, ResNet-14`."""
    return f"{row.removeprefix('none, ')} without attention" if row.startswith("none, ") else row


def covers(result: CellResult, latency: Latency, mean: float, x: float, y: float) -> bool:
    """Whether a label to the right of (x, y) would run over a row's point or its vertical bar."""
    d = result.difference
    low, high = (d.low, d.high) if d and d.low is not None else (mean, mean)
    return 0 < latency.median - x < 0.35 and low - 0.5 < y < high + 0.5
