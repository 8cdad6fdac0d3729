"""A declared table from its records: read, compare, write.

This is `python -m attnlab.report table=NAME [source=wandb:ENTITY/PROJECT|DIR] [...]`, with the arguments of
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
from attnlab.tables.table_page import table_page


class TableReport(NamedTuple):
    """A written table: its comparison, its files, its page."""

    comparison: Comparison
    paths: list[Path]
    page: Page


def report_table(arguments: Sequence[str]) -> TableReport:
    """Compare the table's records; write OUTPUT_DIR/tables/NAME.{md,tex,csv,html} and the figures.

    The files of a part of the table, or of a changed protocol, are called NAME_part.

    Records come from output_dir and ./results, from one folder (source=DIR), or from W&B (source=wandb:ENTITY/PROJECT).
    Raises ConfigError if the arguments make no table, or if none of its runs is recorded.
    """
    source = next((a.partition("=")[2] for a in arguments if a.startswith("source=")), "")
    arguments = [argument for argument in arguments if not argument.startswith("source=")]
    grid = read_grid(arguments)
    output_dir = Path(compose_file("run", [a for a in arguments if a.startswith("output_dir=")]).output_dir)
    records, left_out = _records(source, output_dir, grid)
    folders = [output_dir, RESULTS, *filter(None, [folder_named([f"source={source}"])])]
    comparison = compare(grid, with_judgements(records, *folders), left_out)
    if not comparison.records:
        where = source or f"output_dir={output_dir} or ./{RESULTS}"
        why = f"; left out: {left_out[0]}" if left_out else ""
        raise ConfigError(f"table={grid.name}: none of its runs is recorded in {where}{why}")
    if comparison.metrics[0] == ERROR:
        predictions, _ = of_records(comparison.records, *folders)
        cells = cells_over_images(comparison, predictions)
        intervals = {key: cell.over_images for key, cell in cells.items() if cell.over_images}
        comparison = replace(comparison, over_images=intervals)
    if comparison.latency_columns:
        comparison = replace(comparison, latencies=read_latencies(output_dir, RESULTS))
    return _write(comparison, output_dir)


def _records(source: str, output_dir: Path, grid: Grid) -> tuple[list[Record], list[str]]:
    """(records, a line for each rejected record of this table)."""
    ids = set(grid.run_ids.values())
    folder = folder_named([f"source={source}"])
    if folder or not source:
        records, left_out = gather(folder) if folder else gather(output_dir, RESULTS)
        return records, [reason for reason in left_out if any(name in reason for name in ids)]
    from attnlab.records.wandb_import import wandb_records

    return wandb_records(source.partition(":")[2], ids)


def _write(comparison: Comparison, output_dir: Path) -> TableReport:
    from attnlab.tables import figures

    folder = output_dir / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    part = comparison.grid.changed or comparison.grid.is_part
    stem = folder / (comparison.grid.name + "_part" * bool(part))  # a part must not overwrite the table
    for old in folder.glob(f"{stem.name}_*"):
        if old.suffix in (".png", ".svg") and old.stem.removeprefix(f"{stem.name}_") in figures.NAMES:
            old.unlink()
    maps, maps_warnings = maps_of(stem.with_name(f"{stem.name}_maps.png"), comparison)  # written by attnlab.look
    for line in maps_warnings:
        print(line, file=sys.stderr)
    page = table_page(comparison)
    page = replace(page, warnings=[*page.warnings, *maps_warnings])
    drawn = figures.figures(comparison, output_dir)
    pictures = figures.write(drawn, stem)
    images = [path.name for path in [*pictures, *filter(None, [maps])] if path.suffix == ".png"]
    elements = [figures.svg(figure) for figure in drawn.values()] + ([embedded(maps, "maps")] if maps else [])
    figures.close(drawn)
    paths = {suffix: stem.with_suffix(f".{suffix}") for suffix in ("md", "tex", "csv", "html")}
    paths["md"].write_text(markdown(page, images))
    paths["tex"].write_text(latex(page))
    paths["html"].write_text(html_page(page, elements))
    write_csv(paths["csv"], csv_rows(comparison))
    return TableReport(comparison, [*paths.values(), *pictures], page)
