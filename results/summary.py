"""What the tables on photographs found: two figures, and the blocks between markers in results/README.md and README.md.

    python results/summary.py

Everything is computed from the records by the functions of `python -m attnlab.report`. A block begins with
`<!-- NAME -->` and ends with `<!-- end -->`; NAME is `headline`, `verdicts`, or a table's name.
"""

import re
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from summary_figures import draw_differences, draw_latency, label, progress

from attnlab.tables.answer import answer
from attnlab.tables.cell_result import CellResult
from attnlab.tables.comparison import Comparison
from attnlab.tables.number_text import DASH, mean_and_interval, size
from attnlab.tables.provenance_notes import made_on
from attnlab.tables.write import compare_table

HERE = Path(__file__).parent
#: the declared tables on photographs, each with its records in a folder of its name
TABLES = ("cifar10_cpu", "cifar10_tuned", "cifar100_cpu")
#: tables whose answer stands in results/README.md, and which the figures leave out: they are not about photographs
OTHERS = ("placebo",)
WIDTH = 120  # of lines


def main() -> None:
    """Write the figures and the blocks."""
    found = {name: compared for name in TABLES if (compared := comparison(name)).records}
    draw_differences(found.values(), HERE / "differences.png")
    draw_latency((compared for compared in found.values() if compared.is_complete), HERE / "latency.png")
    blocks = {"headline": headline(found.values()), "verdicts": verdicts(found.values())}
    blocks |= {name: evidence(found.get(name)) for name in TABLES}
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


def headline(tables: Iterable[Comparison]) -> list[str]:
    """A list item a table: how far it is, and its verdicts once it is complete."""
    return [item(f"**{images(compared)}:** {' '.join(findings(compared))}") for compared in tables]


def findings(compared: Comparison) -> list[str]:
    """The sentences of headline about one table."""
    if not compared.is_complete:
        return [f"{progress(compared)}. Verdicts follow when all are."]
    text = "\n".join(answer(compared))
    for row in compared.grid.rows:
        text = text.replace(row, label(row))
    return text.split("\n")


def item(line: str) -> str:
    """A list item of Markdown, in lines of WIDTH characters."""
    return textwrap.fill(f"- {line}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def evidence(compared: Comparison | None) -> list[str]:
    """What lies under a table's verdicts: chance, what its seeds can detect, which epochs were chosen, where it ran."""
    if compared is None:
        return ["Not run."]
    results = compared.results(compared.metrics[0]).values()
    detectable = [r.detectable for r in results if r.detectable is not None]
    last = compared.grid.cells[0].config["recipe"]["epochs"]
    chosen = sum(record["best_epoch"] == last - 1 for record in compared.records)
    lines = floor_lines(compared)
    if not compared.has_noise_floor:
        lines.append("No two rows are one model, so this table does not measure chance between equal models.")
    if detectable:
        low, high = (size(value, compared.metrics[0]) for value in (min(detectable), max(detectable)))
        lines.append(
            f"These seeds would detect differences of {low} to {high} points (80 % power, after Holm's correction), "
            "as estimated from their own spread."
        )
    lines.append(f"The validation images chose the last epoch in {chosen} of {len(compared.records)} runs.")
    return [item(line) for line in [*lines, made_on(compared.records)]]


def answered(compared: Comparison) -> list[str]:
    """What a table answers, in words; chance; where it was run."""
    return [item(line) for line in [*answer(compared), *floor_lines(compared), made_on(compared.records)]]


def floor_lines(compared: Comparison) -> list[str]:
    """A sentence for each pair of rows that are one model."""
    floors = compared.noise_floors(compared.metrics[0])
    lines = []
    for floor in floors:
        (row, other), d = floor.rows, floor.difference
        p = "" if d.p is None else f" p = {d.p:.3f}."
        if d.p is not None and len(floors) > 1:
            p = f" p = {d.p:.3f}, {floor.p_holm:.3f} after Holm over {len(floors)} pairs."
        lines.append(f"{row} minus {other}: {mean_and_interval(d)} points. They are one model, so this is chance.{p}")
    return lines


def verdicts(tables: Iterable[Comparison]) -> list[str]:
    """A Markdown table: each row of the tables with its difference from none and its verdict."""
    tables = list(tables)
    lines = ["| | " + " | ".join(f"{images(c)}: minus none, points | verdict" for c in tables) + " |"]
    lines.append("|---|" + "---:|---|" * len(tables))
    rows = dict.fromkeys(row for compared in tables for row in compared.grid.rows if row != compared.baseline)
    for row in rows:
        cells = []
        for compared in tables:
            result = next((r for r in compared.results(compared.metrics[0]).values() if r.cell.row == row), None)
            cells += [mean_and_interval(result.difference), verdict(result, compared)] if result else [DASH, DASH]
        lines.append(f"| {label(row)} | " + " | ".join(cells) + " |")
    return lines


def verdict(result: CellResult, compared: Comparison) -> str:
    """The verdict of a row, or why it has none."""
    if result.verdict:
        return result.verdict
    if result.key in compared.other_setup:
        return f"not tested: {compared.other_setup[result.key]}"
    if compared.is_complete:
        return "not tested"
    return f"open ({result.difference.n if result.difference else 0} of {len(compared.grid.seeds)} seeds)"


def images(compared: Comparison) -> str:
    """`CIFAR-10, 8 epochs`, from the title of its table, `ResNet-8 on CIFAR-10, 8 epochs, ratio 4`."""
    return str(compared.grid.table["title"]).partition(" on ")[2].removesuffix(", ratio 4")


if __name__ == "__main__":
    main()
