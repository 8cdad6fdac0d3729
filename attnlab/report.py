"""Tables from records.

python -m attnlab.report table=NAME [source=wandb:ENTITY/PROJECT]      a declared table: md, tex, csv, html, png
python -m attnlab.report ... source=DIR                                only from the records of one folder
python -m attnlab.report [output_dir=DIR] [dataset=cifar10 ...]        all records, or those that have these values
python -m attnlab.report predictions run=ID | run=ID,ID | table=NAME   predictions on the test images: see below
python -m attnlab.report power effect=0.2 sd=0.18 design=paired        how many seeds a difference needs, and their cost
python -m attnlab.report power margin=0.3 sd=0.18 comparisons=4        the same, to show that rows are equivalent

predictions: for a run, the error by class and the reliability diagram; for two runs, McNemar's test as well; for a
table, the interval over test images beside the one over seeds, and how far seeds agree.

With table=NAME the arguments are those of `python -m attnlab.run table=NAME`, but nothing is run. Without it, an
override of dataset, model, attention, head or recipe, or of a key below them, selects the records with that value, and
experiment=NAME selects by the groups that the experiment sets. If two records of one run differ, both are left out and
named until source=DIR chooses one of them.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from attnlab.configuration.cli import command_line
from attnlab.configuration.compose import compose_file
from attnlab.errors import ConfigError
from attnlab.records.conflicts import folder_named
from attnlab.records.record import gather
from attnlab.tables.csv_rows import write_csv
from attnlab.tables.overview import Table, csv_rows, markdown, tabulate
from attnlab.tables.record_filter import select


def report(overrides: Sequence[str] = ()) -> tuple[list[Table], list[Path]]:
    """Tabulate the records that `overrides` select (record_filter.py); write OUTPUT_DIR/tables/results.{md,csv,png}.

    Returns the tables and the files. Raises ConfigError if there is no record to tabulate.
    """
    output_dir = Path(compose_file("run", [o for o in overrides if o.startswith("output_dir=")]).output_dir)
    filters = [o for o in overrides if not o.startswith(("output_dir=", "source="))]
    folder = folder_named(overrides)
    if folder is None and (source := [o for o in overrides if o.startswith("source=")]):
        raise ConfigError(f"{source[0]}: needs table=NAME; without it, allowed is source=DIR, a folder of records")
    found, left_out = gather(folder or output_dir)
    chosen, near_misses = select(found, filters)
    for line in (*(f"left out: {reason}" for reason in left_out), *near_misses):
        print(line, file=sys.stderr)
    if not chosen:
        where = f"source={folder}" if folder else f"output_dir={output_dir}"
        raise ConfigError(f"{where}: holds no finished run{' that these overrides select' * bool(filters)}")
    tables = tabulate(chosen)
    return tables, _write(tables, output_dir / "tables")


def _write(tables: Sequence[Table], folder: Path) -> list[Path]:
    from attnlab.tables.style import draw_accuracies

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"results.{suffix}" for suffix in ("md", "csv", "png")]
    paths[0].write_text(markdown(tables))
    write_csv(paths[1], csv_rows(tables))
    draw_accuracies(tables, paths[2])
    return paths


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
    print("wrote " + ", ".join(str(path) for path in _report(sys.argv[1:])))


def _report(arguments: Sequence[str]) -> list[Path]:
    """Print the report that the arguments name; return its files."""
    from attnlab.tables.terminal import print_overview, print_page

    if arguments[:1] == ["predictions"]:
        from attnlab.tables.predictions_page import report_predictions

        page, paths = report_predictions(arguments[1:])
        print_page(page)
        return paths
    if any(argument.startswith("table=") for argument in arguments):
        from attnlab.tables.write import report_table

        _, paths, page = report_table(arguments)
        print_page(page)
        return paths
    tables, paths = report(arguments)
    print_overview(tables)
    return paths


if __name__ == "__main__":
    main()
