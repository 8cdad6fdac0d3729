"""Tables from records.

python -m attnlab.report table=NAME [source=wandb:ENTITY/PROJECT]      a declared table, judged: md, tex, csv, html, png
python -m attnlab.report ... source=DIR                                from the records of one folder alone
python -m attnlab.report [output_dir=DIR] [dataset=cifar10 ...]        all records, or those that have these values
python -m attnlab.report predictions run=ID | run=ID,ID | table=NAME  of the test images: see below
python -m attnlab.report power effect=0.2 sd=0.18 design=paired        how many seeds a difference needs, and their cost
python -m attnlab.report power margin=0.3 sd=0.18 comparisons=4        the same, to show that rows are equivalent

predictions: of a run the error by class and the reliability diagram, of two runs McNemar's test as well, of a table the
interval over test images beside the one over seeds, and how far seeds agree.
With table=NAME the arguments are those of `python -m attnlab.run table=NAME`; nothing is run. Without, an override of
dataset, model, attention, head or recipe, or of a key below them, selects the records that hold it; experiment=NAME
selects by the groups that the experiment sets. Two records of one run that differ are both left out, and named, until
source=DIR chooses.
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from attnlab.configuration.cli import command_line
from attnlab.configuration.compose import compose_file
from attnlab.errors import ConfigError
from attnlab.records.conflicts import folder_named
from attnlab.records.record import gather
from attnlab.tables.overview import HEADER, Table, caption, cells, frame, markdown, tabulate
from attnlab.tables.record_filter import select


def report(overrides: Sequence[str] = ()) -> tuple[list[Table], list[Path]]:
    """Tabulate the records that `overrides` select (record_filter.py); write OUTPUT_DIR/tables/results.{md,csv,png};
    return both.

    Raises ConfigError when there is no record to tabulate.
    """
    output_dir = Path(compose_file("run", [o for o in overrides if o.startswith("output_dir=")]).output_dir)
    filters = [o for o in overrides if not o.startswith(("output_dir=", "source="))]
    folder = folder_named(overrides)
    if folder is None and (source := [o for o in overrides if o.startswith("source=")]):
        raise ConfigError(f"{source[0]}: is for table=NAME; without, allowed is a folder of records")
    found, left_out = gather(folder or output_dir)
    chosen, told = select(found, filters)
    for line in (*(f"left out: {reason}" for reason in left_out), *told):
        print(line, file=sys.stderr)
    if not chosen:
        where = f"source={folder}" if folder else f"output_dir={output_dir}"
        raise ConfigError(f"{where}: holds no finished run{' that these overrides select' * bool(filters)}")
    tables = tabulate(chosen)
    return tables, _write(tables, output_dir / "tables")


def _write(tables: Sequence[Table], folder: Path) -> list[Path]:
    from attnlab.tables.style import accuracies

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"results.{suffix}" for suffix in ("md", "csv", "png")]
    paths[0].write_text(markdown(tables))
    rows = frame(tables)
    with paths[1].open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    accuracies(tables, paths[2])
    return paths


def show(tables: Sequence[Table]) -> None:
    """Print tables to the terminal."""
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console(width=None if sys.stdout.isatty() else 130)
    for table in tables:
        drawn = RichTable(title=table.title, title_justify="left", caption=caption(table), caption_justify="left")
        for name in HEADER:
            drawn.add_column(name, justify="left" if name == "attention" else "right", no_wrap=name != "attention")
        for row in table.rows:
            drawn.add_row(*cells(row))
        console.print(drawn)


@command_line()
def main() -> None:
    """The command line."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    if sys.argv[1:2] == ["power"]:
        from attnlab.tables.power import power

        print("\n".join(power(sys.argv[2:])))
        return
    print("wrote " + ", ".join(str(path) for path in _told(sys.argv[1:])))


def _told(arguments: Sequence[str]) -> list[Path]:
    """Print what was asked for; return what was written."""
    if arguments[:1] == ["predictions"]:
        from attnlab.tables.predictions_page import report_predictions
        from attnlab.tables.write import show_sheet

        text, paths = report_predictions(arguments[1:])
        show_sheet(text)
        return paths
    if any(argument.startswith("table=") for argument in arguments):
        from attnlab.tables.sheet import sheet
        from attnlab.tables.write import report_table, show_sheet

        comparison, paths = report_table(arguments)
        show_sheet(sheet(comparison))
        return paths
    tables, paths = report(arguments)
    show(tables)
    return paths


if __name__ == "__main__":
    main()
