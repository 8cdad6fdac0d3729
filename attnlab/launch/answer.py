"""What a sweep prints at its end: the table of its runs, the result in words, the files, and the next command."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from attnlab.configuration.groups import own_folder
from attnlab.configuration.identity import run_id
from attnlab.machine.terminal import print_wrapped
from attnlab.records.judgement import with_judgements
from attnlab.records.record import gather
from attnlab.tables.cell_result import CellResult
from attnlab.tables.comparison import Comparison, compare
from attnlab.tables.page import Page, Section
from attnlab.tables.terminal import print_page
from attnlab.tables.undeclared import grid_of
from attnlab.tables.write import TableReport, compare_table, output_dir_of, with_details, write_report

#: what is suggested after a sweep with one seed
FEW_SEEDS = "seed=0,1,2,3,4"
#: points of error; an example of a difference that one may want to find
EFFECT = 0.5


def answer_of_table(arguments: Sequence[str]) -> TableReport | None:
    """Print the answer of a declared table, of which runs may be missing; None if none is recorded.

    arguments: of `run table=NAME`. The records are those of output_dir alone, where all runs of the command are; those
    in ./results may come from another machine.
    """
    output_dir = output_dir_of(arguments)
    if not output_dir.is_dir():
        return None
    return _print(compare_table([*arguments, f"source={output_dir}"]), output_dir, arguments)


def answer_of_sweep(configs: Sequence[Mapping[str, Any]], arguments: Sequence[str]) -> TableReport | None:
    """Print the answer of a plain sweep; None if no run is recorded.

    configs: of its jobs, checked;  arguments: as typed, without -m.
    """
    by_id = {run_id(config): config for config in configs}
    output_dir = Path(configs[0]["output_dir"])
    found, left_out = gather(output_dir)
    mine = [record for record in found if record["id"] in by_id]
    rejected = [line for line in left_out if any(name in line for name in by_id)]
    comparison = compare(grid_of(list(by_id.values()), "sweep"), with_judgements(mine, output_dir), rejected)
    return _print(with_details(comparison, output_dir), output_dir, ["-m", *arguments])


def _print(comparison: Comparison, output_dir: Path, arguments: Sequence[str]) -> TableReport | None:
    if not comparison.records:  # each failure was printed
        return None
    report = write_report(comparison, output_dir)
    _, paths, page = report
    columns = page.sections[-len(comparison.grid.columns) :]  # an overview precedes several columns
    sections = [_short(section, comparison.baseline) for section in columns]
    print_page(Page(page.name, page.title, [], page.warnings, sections, []))
    html = next(path for path in paths if path.suffix == ".html")
    print_wrapped(*page.answer)
    others = ", ".join(path.suffix[1:] for path in paths if path.stem == html.stem and path != html)
    print(f"page: {html}; also {others}")
    own = own_folder()
    typed = ["--config-dir", os.path.relpath(own), *arguments] if own else arguments
    print(f"next: {next_command(comparison, typed)}", flush=True)
    return report


def _short(section: Section, baseline: str) -> Section:
    """The columns of a section that answer: the row, its error, n, the difference, the verdict."""
    wanted = (*section.header[:2], "n", f"minus {baseline} [95 %]", "verdict")
    kept = [i for i, name in enumerate(section.header) if name in wanted]
    return Section(section.title, [section.header[i] for i in kept], [[row[i] for i in kept] for row in section.rows])


def next_command(comparison: Comparison, arguments: Sequence[str]) -> str:
    """The command that takes the reader on, and what it does."""
    again = f"python -m attnlab.run {' '.join(shlex.quote(argument) for argument in arguments)}"
    if comparison.missing:
        return f"{again}   (runs the {comparison.missing} missing)"
    results = comparison.results(comparison.metrics[0]).values()
    differences = [result.difference for result in results if result.difference]
    if comparison.grid.origin == "sweep" and len(comparison.grid.seeds) == 1:
        more = [argument for argument in arguments if not argument.startswith("seed=")]
        typed = " ".join(shlex.quote(argument) for argument in [*more, FEW_SEEDS])
        return f"python -m attnlab.run {typed}   (one seed shows no spread; five show how large chance is)"
    spread = [d.sd for d in differences if d.sd is not None]
    if spread and any(result.verdict == "undecided" for result in results):
        design = "" if all(d.paired for d in differences) else " design=unpaired"
        size = f"effect={EFFECT:g}" if comparison.margin is None else f"margin={comparison.margin:g}"
        return (
            f"python -m attnlab.report power {size} sd={median(spread):.2f} "
            f"comparisons={comparison.comparisons}{design}   (how many seeds that needs, at what cost)"
        )
    if comparison.grid.origin == "table":
        return f"{again.replace('attnlab.run', 'attnlab.judge', 1)}   (does the attention look where it should?)"
    where = " ".join(shlex.quote(argument) for argument in arguments if argument.startswith("output_dir="))
    best = min(results, key=_error)
    look = " ".join(filter(None, [f"python -m attnlab.look run={best.runs.runs[0]['id']}", where]))
    return f"{look}   (where the net with the lowest error looks)"


def _error(result: CellResult) -> float:
    mean = result.runs.mean(result.metric)
    return float("inf") if mean is None else mean
