"""`python -m attnlab.report table=NAME [source=wandb:ENTITY/PROJECT|DIR] [...]`: a declared table from its records.

Composes only: nothing is run. The same arguments as `python -m attnlab.run table=NAME`.
"""

import csv
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attnlab.configuration.compose import compose_file
from attnlab.errors import ConfigError
from attnlab.records.conflicts import folder_named
from attnlab.records.judgement import with_judgements
from attnlab.records.predictions import of_records
from attnlab.records.record import RESULTS, Record, gather
from attnlab.tables.comparison import Comparison, compare
from attnlab.tables.formats import embedded, latex, markdown, page
from attnlab.tables.grid import Grid, read_grid
from attnlab.tables.image_table import lines
from attnlab.tables.maps_picture import maps_of
from attnlab.tables.progress import ledger
from attnlab.tables.sheet import ERROR, Bold, Sheet, plain_rows, sheet


def report_table(arguments: Sequence[str]) -> tuple[Comparison, list[Path]]:
    """Judge the table's records; write OUTPUT_DIR/tables/NAME.{md,tex,csv,html} and its figures; return both.

    A part of the table, or one that is not the protocol, is NAME_part.

    Records come from output_dir and ./results, from one folder (source=DIR), or from W&B (source=wandb:ENTITY/PROJECT).
    Raises ConfigError for what makes no table, or when none of its runs is recorded.
    """
    source = next((a.partition("=")[2] for a in arguments if a.startswith("source=")), "")
    arguments = [argument for argument in arguments if not argument.startswith("source=")]
    grid = read_grid(arguments)
    output_dir = Path(compose_file("run", [a for a in arguments if a.startswith("output_dir=")]).output_dir)
    records, left_out = _records(source, output_dir, grid)
    folders = [output_dir, RESULTS, *filter(None, [folder_named([f"source={source}"])])]
    comparison = compare(grid, with_judgements(records, *folders), left_out)
    if comparison.metrics[0] == ERROR:
        found, _ = of_records(comparison.records, *folders)
        intervals = {key: line.over_images for key, line in lines(comparison, found).items() if line.over_images}
        comparison = replace(comparison, over_images=intervals)
    if not comparison.records:
        where = source or f"output_dir={output_dir} or ./{RESULTS}"
        why = f"; left out: {left_out[0]}" if left_out else ""
        raise ConfigError(f"table={grid.name}: none of its runs is recorded in {where}{why}")
    return comparison, _write(comparison, output_dir)


def _records(source: str, output_dir: Path, grid: Grid) -> tuple[list[Record], list[str]]:
    ids = set(ledger(grid, []).ids.values())
    folder = folder_named([f"source={source}"])
    if folder or not source:
        records, left_out = gather(folder) if folder else gather(output_dir, RESULTS)
        return records, [reason for reason in left_out if any(name in reason for name in ids)]
    from attnlab.records.wandb_import import wandb_records

    return wandb_records(source.partition(":")[2], ids)


def _write(comparison: Comparison, output_dir: Path) -> list[Path]:
    from attnlab.tables import figures

    folder = output_dir / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    part = comparison.grid.changed or comparison.grid.is_part
    stem = folder / (comparison.grid.name + "_part" * bool(part))  # what is not the table does not take its place
    for old in folder.glob(f"{stem.name}_*"):
        if old.suffix in (".png", ".svg") and old.stem.removeprefix(f"{stem.name}_") in figures.NAMES:
            old.unlink()
    maps, told = maps_of(stem.with_name(f"{stem.name}_maps.png"), comparison)  # of attnlab.look, when it was asked
    for line in told:
        print(line, file=sys.stderr)
    text = sheet(comparison)
    text = replace(text, warnings=[*text.warnings, *told])
    drawn = figures.figures(comparison, output_dir)
    pictures = figures.write(drawn, stem)
    images = [path.name for path in [*pictures, *filter(None, [maps])] if path.suffix == ".png"]
    shown = [figures.svg(figure) for figure in drawn.values()] + ([embedded(maps, "maps")] if maps else [])
    pages = {
        "md": markdown(text, images),
        "tex": latex(text),
        "html": page(text, shown),
    }
    figures.close(drawn)
    for suffix, content in pages.items():
        stem.with_suffix(f".{suffix}").write_text(content)
    rows = plain_rows(comparison)
    with stem.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return [*(stem.with_suffix(f".{suffix}") for suffix in ("md", "tex", "csv", "html")), *pictures]


def show_sheet(text: Sheet) -> None:
    """Print a sheet to the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(Text(text.title, style="bold"))
    for warning in text.warnings:
        console.print(Text(warning, style="yellow"))
    for section in text.sections:
        drawn = Table(title=section.title or None, title_justify="left")
        for number, name in enumerate(section.header):
            drawn.add_column(Text(name), justify="right" if number else "left")
        for row in section.rows:
            drawn.add_row(*(Text(cell, style="bold" if isinstance(cell, Bold) else "") for cell in row))
        console.print(drawn)
    for note in text.notes:
        console.print(Text(note, style="dim"))
