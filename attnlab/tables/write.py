"""A comparison from its records: read, compare, write.

`report_table` is `python -m attnlab.report table=NAME [source=wandb:ENTITY/PROJECT|DIR] [...]`, with the arguments of
`python -m attnlab.run table=NAME`. It composes configs and runs nothing.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from attnlab.configuration.compose import compose_file
from attnlab.errors import ConfigError
from attnlab.records.conflicts import folder_named
from attnlab.records.judgement import with_judgements
from attnlab.records.predictions import of_records
from attnlab.records.record import RESULTS, Record, gather
from attnlab.tables.comparison import Comparison, compare
from attnlab.tables.csv_rows import csv_rows, write_csv
from attnlab.tables.formats import embedded, html_page, latex, markdown
from attnlab.tables.grid import Grid, read_grid
from attnlab.tables.image_table import cells_over_images
from attnlab.tables.latency import read_latencies
from attnlab.tables.maps_picture import maps_of
from attnlab.tables.metric_names import ERROR
from attnlab.tables.page import Page
from attnlab.tables.paper_table import paper_table
from attnlab.tables.table_page import table_page


class TableReport(NamedTuple):
    """A written table: its comparison, its files, its page."""

    comparison: Comparison
    paths: list[Path]
    page: Page


def report_table(arguments: Sequence[str]) -> TableReport:
    """Compare the table's records; write OUTPUT_DIR/tables/NAME.{md,tex,csv,html} and the figures.

    NAME.tex is the table of a paper (paper_table.py), NAME_report.tex holds all that the page holds. The files of a
    part of the table, or of a changed protocol, are called NAME_part.

    Records come from output_dir and ./results, from one folder (source=DIR), or from W&B (source=wandb:ENTITY/PROJECT).
    Raises ConfigError if the arguments make no table, or if none of its runs is recorded.
    """
    return write_report(compare_recorded(arguments), output_dir_of(arguments))


def compare_recorded(arguments: Sequence[str]) -> Comparison:
    """The comparison of a declared table; raises ConfigError if none of its runs is recorded."""
    comparison = compare_table(arguments)
    if not comparison.records:
        where = _source(arguments) or f"output_dir={output_dir_of(arguments)} or ./{RESULTS}"
        why = f"; left out: {comparison.left_out[0]}" if comparison.left_out else ""
        raise ConfigError(f"table={comparison.grid.name}: none of its runs is recorded in {where}{why}")
    return comparison


def compare_table(arguments: Sequence[str]) -> Comparison:
    """The comparison of a declared table, which may have no records yet; arguments as of `report_table`."""
    source, output_dir = _source(arguments), output_dir_of(arguments)
    grid = read_grid([argument for argument in arguments if not argument.startswith("source=")])
    records, left_out = _records(source, output_dir, grid)
    folders = [output_dir, RESULTS, *filter(None, [folder_named([f"source={source}"])])]
    comparison = with_details(compare(grid, with_judgements(records, *folders), left_out), *folders)
    if comparison.latency_columns:
        comparison = replace(comparison, latencies=read_latencies(output_dir, RESULTS))
    return comparison


def with_details(comparison: Comparison, *folders: Path) -> Comparison:
    """The comparison with the predictions below the folders, and with its intervals over test images."""
    predictions, _ = of_records(comparison.records, *folders)
    comparison = replace(comparison, predictions=predictions)
    if comparison.metrics[0] != ERROR:
        return comparison
    cells = cells_over_images(comparison, predictions)
    intervals = {key: cell.over_images for key, cell in cells.items() if cell.over_images}
    return replace(comparison, over_images=intervals)


def output_dir_of(arguments: Sequence[str]) -> Path:
    """output_dir of a command line, or its default."""
    return Path(compose_file("run", [a for a in arguments if a.startswith("output_dir=")]).output_dir)


def _source(arguments: Sequence[str]) -> str:
    return next((a.partition("=")[2] for a in arguments if a.startswith("source=")), "")


def _records(source: str, output_dir: Path, grid: Grid) -> tuple[list[Record], list[str]]:
    """(records, a line for each rejected record of this table)."""
    ids = set(grid.run_ids.values())
    folder = folder_named([f"source={source}"])
    if folder or not source:
        records, left_out = gather(folder) if folder else gather(output_dir, RESULTS)
        return records, [reason for reason in left_out if any(name in reason for name in ids)]
    from attnlab.records.wandb_import import wandb_records

    return wandb_records(source.partition(":")[2], ids)


def write_report(comparison: Comparison, output_dir: Path) -> TableReport:
    """Write OUTPUT_DIR/tables/NAME.{md,tex,csv,html} and the figures of a comparison that has records."""
    from attnlab.tables import figures
    from attnlab.tables.run_pages import write_run_pages

    stem = _stem(comparison, output_dir)
    for old in stem.parent.glob(f"{stem.name}_*"):
        if old.suffix in (".png", ".svg") and old.stem.removeprefix(f"{stem.name}_") in figures.NAMES:
            old.unlink()
    maps, maps_warnings = maps_of(stem.with_name(f"{stem.name}_maps.png"), comparison)  # written by attnlab.look
    for line in maps_warnings:
        print(line, file=sys.stderr)
    page = table_page(comparison)
    page = replace(page, warnings=[*page.warnings, *maps_warnings])
    drawn = figures.figures(comparison, output_dir)
    svgs = figures.documents(drawn)
    pictures = figures.write(drawn, svgs, stem)
    images = [path.name for path in [*pictures, *filter(None, [maps])] if path.suffix == ".png"]
    elements = figures.elements(svgs) + ([embedded(maps, "maps")] if maps else [])
    figures.close(drawn)
    links = write_run_pages(comparison, output_dir)
    paths = {suffix: stem.with_suffix(f".{suffix}") for suffix in ("md", "tex", "csv", "html")}
    paths["md"].write_text(markdown(page, images))
    paths["tex"].write_text(paper_table(comparison))
    report = stem.with_name(f"{stem.name}_report.tex")
    report.write_text(latex(page))
    paths["html"].write_text(html_page(page, elements, links))
    write_csv(paths["csv"], csv_rows(comparison))
    return TableReport(comparison, [*paths.values(), report, *pictures], page)


def write_paper(comparison: Comparison, output_dir: Path) -> Path:
    """Write only the table of a paper, OUTPUT_DIR/tables/NAME.tex."""
    path = _stem(comparison, output_dir).with_suffix(".tex")
    path.write_text(paper_table(comparison))
    return path


def _stem(comparison: Comparison, output_dir: Path) -> Path:
    """OUTPUT_DIR/tables/NAME, or NAME_part (Grid.file_name); makes the folder."""
    folder = output_dir / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / comparison.grid.file_name
