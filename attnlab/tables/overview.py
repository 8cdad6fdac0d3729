"""Reports of what is recorded, without a declared table: `python -m attnlab.report [attention=se,ise ...]`."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from attnlab.configuration.overrides import parse
from attnlab.errors import ConfigError
from attnlab.machine.terminal import print_wrapped
from attnlab.records.conflicts import folder_named
from attnlab.records.judgement import with_judgements
from attnlab.records.record import gather
from attnlab.tables.comparison import Comparison
from attnlab.tables.csv_rows import csv_rows, write_csv
from attnlab.tables.formats import html_pages, markdown
from attnlab.tables.page import Page
from attnlab.tables.paper_table import paper_table
from attnlab.tables.record_groups import tabulate
from attnlab.tables.selection import select
from attnlab.tables.spec import check_paper_columns
from attnlab.tables.table_page import table_page
from attnlab.tables.unfinished import unfinished_line, unfinished_runs, with_unfinished
from attnlab.tables.write import output_dir_of, with_details

PAPER_COLUMNS = ("table.paper_columns=", "+table.paper_columns=")  # of format=paper; selects nothing


class Overview(NamedTuple):
    """A written overview: its comparisons, its files, a page for each comparison."""

    comparisons: list[Comparison]
    paths: list[Path]
    pages: list[Page]


def report(overrides: Sequence[str] = ()) -> Overview:
    """Tabulate the records that `overrides` select (record_filter.py), with the statistics of a declared table.

    Writes OUTPUT_DIR/tables/results.{md,csv,html,png}. Raises ConfigError if there is no record to tabulate.
    """
    return write_overview(compare_selected(overrides), output_dir_of(overrides))


def compare_selected(overrides: Sequence[str]) -> list[Comparison]:
    """The comparisons of the selected records; prints what is left out and what is mixed.

    Raises ConfigError if nothing is selected.
    """
    output_dir, folder = output_dir_of(overrides), folder_named(overrides)
    filters = [o for o in overrides if not o.startswith(("output_dir=", "source=", *PAPER_COLUMNS))]
    if folder is None and (source := [o for o in overrides if o.startswith("source=")]):
        raise ConfigError(f"{source[0]}: needs table=NAME; without it, allowed is source=DIR, a folder of records")
    found, left_out = gather(folder or output_dir)
    for reason in left_out:
        print(f"left out: {reason}", file=sys.stderr)
    others = unfinished_runs(folder or output_dir, [record["id"] for record in found])
    selection = select([*found, *({"id": state.id, "config": state.config} for state in others)], filters)
    ids = {record["id"] for record in selection.records}
    chosen = [record for record in found if record["id"] in ids]
    others = [state for state in others if state.id in ids]
    if not chosen:
        where = f"source={folder}" if folder else f"output_dir={output_dir}"
        which = " that these overrides select" * bool(filters)
        why = selection.reason or (unfinished_line(others) if others else "")
        raise ConfigError(f"{where}: holds no finished run{which}" + (f": {why}" if why else ""))
    print_wrapped(*selection.notes, file=sys.stderr)
    folders = [folder or output_dir, output_dir]
    compared = [with_details(one, *folders) for one in tabulate(with_judgements(chosen, *folders))]
    return [_with_paper_columns(one, overrides) for one in with_unfinished(compared, others)]


def _with_paper_columns(comparison: Comparison, overrides: Sequence[str]) -> Comparison:
    """The comparison with the columns of a paper's table that an argument chooses. Raises ConfigError."""
    given = [override for override in overrides if override.startswith(PAPER_COLUMNS)]
    if not given:
        return comparison
    (item,) = parse(given[-1:], "the command line")
    columns = check_paper_columns(item.value(), comparison.grid.table["metrics"])
    return replace(comparison, grid=replace(comparison.grid, table=comparison.grid.table | {"paper_columns": columns}))


def write_paper_of_records(comparisons: Sequence[Comparison], output_dir: Path) -> Path:
    """Write only the tables of a paper, one after another: OUTPUT_DIR/tables/results.tex."""
    path = output_dir / "tables" / "results.tex"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(paper_table, comparisons)))
    return path


def write_overview(comparisons: Sequence[Comparison], output_dir: Path) -> Overview:
    """Write OUTPUT_DIR/tables/results.{md,csv,html,png} of several comparisons."""
    from attnlab.tables import figures
    from attnlab.tables.overview_figure import draw_errors
    from attnlab.tables.run_pages import write_run_pages

    folder = output_dir / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    pages: list[Page] = []
    elements, rows = [], []
    links: dict[str, str] = {}
    for comparison in comparisons:
        pages.append(table_page(comparison))
        drawn = figures.figures(comparison, output_dir)
        elements.append(figures.elements(figures.documents(drawn)))
        figures.close(drawn)
        links |= write_run_pages(comparison, output_dir)
        rows += [{"table": pages[-1].title} | row for row in csv_rows(comparison)]
    paths = [folder / f"results.{suffix}" for suffix in ("md", "csv", "html", "png")]
    paths[0].write_text("\n".join(map(markdown, pages)))
    write_csv(paths[1], rows)
    paths[2].write_text(html_pages(list(zip(pages, elements, strict=True)), links))
    draw_errors(comparisons, paths[3])
    return Overview(list(comparisons), paths, pages)
