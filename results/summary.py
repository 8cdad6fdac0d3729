"""What the tables on photographs found: two figures, and the blocks between markers in results/README.md and README.md.

    python results/summary.py

Everything is computed from the records by the functions of `python -m attnlab.report`. A block begins with
`<!-- NAME -->` and ends with `<!-- end -->`; NAME is `verdicts`, or a table's name.
"""

import re
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from scipy import stats

from attnlab.tables.answer import answer
from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import metric_name
from attnlab.tables.noise_floor import NoiseFloor
from attnlab.tables.number_text import DASH, mean_and_interval
from attnlab.tables.provenance_notes import made_on
from attnlab.tables.style import BAND, BLUE, GREY, INK, LINE, STYLE, plt
from attnlab.tables.write import compare_table

HERE = Path(__file__).parent
#: the declared tables on photographs, each with its records in a folder of its name
TABLES = ("cifar10_cpu", "cifar100_cpu")
#: tables whose answer stands in results/README.md, and which the figures leave out: they are not about photographs
OTHERS = ("placebo",)
BATCH_1 = "cost/latency_b1"
WIDTH = 120  # of lines


def main() -> None:
    """Write the figures and the blocks."""
    found = {name: compared for name in TABLES if (compared := comparison(name)).records}
    draw_differences(found.values(), HERE / "differences.png")
    draw_latency(found.values(), HERE / "latency.png")
    blocks = {"verdicts": verdicts(found.values())} | {name: answered(found.get(name)) for name in TABLES}
    blocks |= {name: answered(comparison(name)) for name in OTHERS}
    for page in (HERE / "README.md", HERE.parent / "README.md"):
        page.write_text(with_blocks(page.read_text(), {name: "\n".join(lines) for name, lines in blocks.items()}))


def comparison(name: str) -> Comparison:
    """A declared table with the records that are tracked here."""
    return compare_table([f"table={name}", f"output_dir={HERE / name}"])


def with_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """The text with other lines between the markers of its blocks. Raises SystemExit for a block of an unknown name."""

    def replaced(match: re.Match[str]) -> str:
        if match[1] not in blocks:
            sys.exit(f"unknown block <!-- {match[1]} -->; allowed are {', '.join(blocks)}")
        return f"<!-- {match[1]} -->\n\n{blocks[match[1]]}\n\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", replaced, text, flags=re.DOTALL)


def answered(compared: Comparison | None) -> list[str]:
    """What a table answers, in words; chance; where it was run."""
    if compared is None:
        return ["Not run."]
    floors = compared.noise_floors(compared.metrics[0])
    lines = [*answer(compared), *map(floor_line, floors), made_on(compared.records)]
    return [textwrap.fill(f"- {line}", WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines]


def floor_line(floor: NoiseFloor) -> str:
    """One pair of rows that are one model."""
    row, other = floor.rows
    return f"Chance, measured: {row} minus {other}, one model, is {mean_and_interval(floor.difference)}."


def verdicts(tables: Iterable[Comparison]) -> list[str]:
    """A Markdown table: each row of the tables with its difference from none and its verdict."""
    tables = list(tables)
    lines = ["| | " + " | ".join(f"{dataset(c)}: minus none, points | verdict" for c in tables) + " |"]
    lines.append("|---|" + "---:|---|" * len(tables))
    rows = dict.fromkeys(row for compared in tables for row in compared.grid.rows if row != compared.baseline)
    for row in rows:
        cells = []
        for compared in tables:
            result = next((r for r in compared.results(compared.metrics[0]).values() if r.cell.row == row), None)
            cells.append(mean_and_interval(result.difference) if result else DASH)
            cells.append((result.verdict or f"none yet (n = {result.runs.n})") if result else DASH)
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return lines


def dataset(compared: Comparison) -> str:
    """CIFAR-10, from the title of its table."""
    return re.search(r"CIFAR-\d+", compared.grid.table["title"])[0]


def chance(compared: Comparison) -> float | None:
    """Half the band in which 95 % of the differences between two rows lie that are one model, by the table's pairs.

    t(0.975, sum of n - 1 over the pairs) times their pooled sample sd over sqrt(n), n of the first pair.
    """
    floors = [f.difference for f in compared.noise_floors(compared.metrics[0]) if f.difference.sd]
    if not floors:
        return None
    df = sum(d.n - 1 for d in floors)
    pooled = np.sqrt(sum((d.n - 1) * d.sd**2 for d in floors) / df)
    return float(stats.t.ppf(0.975, df) * pooled / np.sqrt(floors[0].n))


def draw_differences(tables: Iterable[Comparison], path: Path) -> None:
    """A panel a table: each row minus none with its 95 % interval; shaded: chance, by rows that are one model."""
    tables = list(tables)
    found = [[r for r in c.results(c.metrics[0]).values() if r.difference] for c in tables]
    heights = [0.6 + 0.3 * len(rows) for rows in found]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(tables), 1, figsize=(7.5, sum(heights) + 0.5), squeeze=False, height_ratios=heights, sharex=True
        )
        for axis, compared, rows in zip(axes[:, 0], tables, found, strict=True):
            if half := chance(compared):
                axis.axvspan(-half, half, color=BAND, lw=0, zorder=0)
            for position, result in enumerate(rows):
                d, colour = result.difference, BLUE if result.bold else INK
                if d.low is not None:
                    axis.plot([d.low, d.high], [position] * 2, color=colour, lw=1.6, marker="|", markersize=5)
                axis.plot(d.mean, position, "o", color=colour, markersize=5.5)
            axis.axvline(0, color=GREY, lw=0.9, ls=(0, (3, 3)), zorder=1)
            axis.set_yticks(range(len(rows)), [f"{r.cell.row}  (n={r.difference.n})" for r in rows])
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.grid(axis="x")
            axis.set_axisbelow(True)
            axis.set_title(compared.grid.table["title"])
        axes[-1, 0].set_xlabel(
            "test error, percentage points: difference from none with its 95 % interval, left is better\n"
            "blue: significant at 5 % after Holm; shaded: where 95 % of such differences lie by chance alone,\n"
            "measured on rows of the table that are one model"
        )
        figure.tight_layout(h_pad=1.2)
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)


def draw_latency(tables: Iterable[Comparison], path: Path) -> None:
    """A panel a table with measured latencies: error against the latency of one image; a line through the nets without
    attention."""
    tables = [compared for compared in tables if compared.latencies]
    with plt.rc_context(STYLE | {"axes.spines.left": True}):
        figure, axes = plt.subplots(1, len(tables), figsize=(4.6 * len(tables), 3.8), squeeze=False)
        for axis, compared in zip(axes[0], tables, strict=True):
            points, plain = [], []
            for result in compared.results(compared.metrics[0]).values():
                latency, error = compared.latency(BATCH_1, result.cell), result.runs.mean(result.metric)
                if latency is None or error is None:
                    continue
                bare = result.cell.row.startswith("none")
                points.append((latency.median, error, result.cell.row, result.runs.sd(result.metric), bare))
                plain += [(latency.median, error)] * bare
            axis.plot(*zip(*sorted(plain), strict=True), color=GREY, lw=1.1, ls=(0, (4, 3)), zorder=1)
            heights = [point[1] for point in points]
            gap, placed = 0.045 * (max(heights) - min(heights)), []  # of the labels, which shall not cover each other
            for x, y, row, sd, bare in sorted(points, key=lambda point: point[1]):
                colour = GREY if bare else INK
                axis.errorbar(x, y, yerr=sd, fmt="o", color=colour, markersize=5, lw=1, capsize=2)
                beside = [height for other, height in placed if abs(other - x) < 0.15]
                height = max([y, *(height + gap for height in beside)])
                placed.append((x, height))
                axis.annotate(
                    row, (x, y), (x + 0.06, height), fontsize=8.5, color=colour, va="center",
                    arrowprops={"arrowstyle": "-", "color": LINE, "shrinkB": 3} if height > y + gap / 2 else None,
                )  # fmt: skip
            axis.margins(x=0.2)
            axis.grid()
            axis.set_axisbelow(True)
            axis.set_title(compared.grid.table["title"])
            axis.set_xlabel("latency of one image on one core, none = 1")
        axes[0, 0].set_ylabel(metric_name(tables[0].metrics[0]) + ", mean ± sd over seeds")
        figure.tight_layout()
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
