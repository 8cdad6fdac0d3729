"""The table of a paper, in LaTeX: chosen columns, backbones side by side, bold and marks only where statistics allow.

It needs booktabs and siunitx, fits a page of two columns, and says in its caption what bold and marks mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from attnlab.tables.cell_result import CellResult
from attnlab.tables.comparison import Comparison
from attnlab.tables.formats import template
from attnlab.tables.paper_caption import MARKS, caption
from attnlab.tables.paper_columns import PaperColumn, columns_of

#: width in pt of one column and of both columns of a page, of a letter in \small, and between two columns of the table
ONE_COLUMN, TWO_COLUMNS, LETTER, GAP = 240.0, 500.0, 4.7, 8.0


@dataclass(frozen=True)
class Block:
    """Some backbones side by side under one head. groups: (backbone, number of columns);  lines: rows of cells."""

    groups: list[tuple[str, int]]
    columns: list[PaperColumn]
    lines: list[list[str]]

    @property
    def rules(self) -> list[str]:
        """`2-3` for each backbone: the columns over which the line under its name goes."""
        found, first = [], 2
        for _, count in self.groups:
            found.append(f"{first}-{first + count - 1}")
            first += count
        return found


def paper_table(comparison: Comparison) -> str:
    """A table environment, `table` or over both columns of the page `table*`."""
    rows, backbones = comparison.grid.rows, comparison.grid.columns
    results = comparison.results(comparison.metrics[0])
    columns = {name: columns_of(comparison, name) for name in backbones}
    label = LETTER * max(map(len, rows)) + GAP
    widths = {name: sum(LETTER * column.letters + GAP for column in columns[name]) for name in backbones}
    blocks = []
    for names in _side_by_side(backbones, widths, TWO_COLUMNS - label):
        lines = []
        for row in rows:
            cells = [_cell(comparison, results.get((row, name)), column) for name in names for column in columns[name]]
            lines.append([row, *cells])
        groups = [(name, len(columns[name])) for name in names]
        blocks.append(Block(groups, [column for name in names for column in columns[name]], lines))
    widest = label + max(sum(widths[name] for name, _ in block.groups) for block in blocks)
    return template("paper.tex.jinja").render(
        name=comparison.grid.name, title=comparison.grid.table.get("title") or comparison.grid.name,
        caption=caption(comparison), blocks=blocks, environment="table" if widest <= ONE_COLUMN else "table*",
        marks=max(map(_mark, results.values()), key=len, default=""),
    )  # fmt: skip


def _side_by_side(names: Sequence[str], widths: dict[str, float], width: float) -> list[list[str]]:
    """The backbones in blocks that are no wider than a page, and of one size where that fits."""
    blocks: list[list[str]] = []
    used = 0.0
    for name in names:
        if blocks and used + widths[name] <= width:
            blocks[-1].append(name)
            used += widths[name]
        else:
            blocks.append([name])
            used = widths[name]
    size = math.ceil(len(names) / len(blocks))
    even = [list(names[start : start + size]) for start in range(0, len(names), size)]
    return even if all(sum(widths[name] for name in block) <= width for block in even) else blocks


def _cell(comparison: Comparison, result: CellResult | None, column: PaperColumn) -> str:
    """One cell as LaTeX; the judged metric with its mark, and in bold where it is the best."""
    text = "" if result is None else column.text(result)
    if result is None or not text:
        return "{--}"
    if column.key != comparison.metrics[0]:
        return text
    mark = _mark(result)
    bold = r"\bfseries " if is_best(comparison, result) else ""
    return bold + text + (f"{{{mark}}}" if mark else "")


def _mark(result: CellResult) -> str:
    return "".join(sign for word, (sign, _) in MARKS.items() if word in (result.verdict or ""))


def is_best(comparison: Comparison, result: CellResult) -> bool:
    """Whether the row has the lowest mean of its column, and is significantly better than the baseline."""
    if not result.bold or not (result.verdict or "").startswith("better"):
        return False
    others = comparison.results(result.metric).values()
    means = [r.runs.mean(r.metric) for r in others if r.cell.column == result.cell.column]
    return result.runs.mean(result.metric) == min(mean for mean in means if mean is not None)
