"""Tables from records.

python -m attnlab.report table=NAME [source=wandb:ENTITY/PROJECT]      a declared table, judged: md, tex, csv, html, png
python -m attnlab.report [output_dir=DIR] [dataset=cifar10 ...]        all records, or those that have these values
python -m attnlab.report predictions run=ID | run=ID,ID | table=NAME  of the test images: see below
python -m attnlab.report power effect=0.2 sd=0.18 design=paired        how many seeds a difference needs, and their cost
python -m attnlab.report power margin=0.3 sd=0.18 comparisons=4        the same, to show that rows are equivalent

predictions: of a run the error by class and the reliability diagram, of two runs McNemar's test as well, of a table the
interval over test images beside the one over seeds, and how far seeds agree.
With table=NAME the arguments are those of `python -m attnlab.run table=NAME`; nothing is run. Without, an override of
dataset, model, attention, head or recipe, or of a key below them, selects the records that have it; experiment=NAME
selects by the groups that the experiment sets.
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from attnlab.compose import CONF, compose_file, plain
from attnlab.errors import AttnlabError, ConfigError
from attnlab.identity import SECTIONS, science
from attnlab.results import Record, gather
from attnlab.tables import HEADER, Table, caption, cells, frame, markdown, tabulate


def report(overrides: Sequence[str] = ()) -> tuple[list[Table], list[Path]]:
    """Tabulate the records that `overrides` select; write OUTPUT_DIR/tables/results.{md,csv,png}; return both.

    Raises ConfigError when there is no record to tabulate.
    """
    cfg = compose_file("run", overrides)
    output_dir = Path(cfg.output_dir)
    found, left_out = gather(output_dir)
    for reason in left_out:
        print(f"left out: {reason}", file=sys.stderr)
    chosen = [record for record in found if _selected(record, plain(cfg), overrides)]
    if not chosen:
        hint = " that these overrides select" if any(not o.startswith("output_dir=") for o in overrides) else ""
        raise ConfigError(f"output_dir={output_dir}: holds no finished run{hint}")
    tables = tabulate(chosen)
    return tables, _write(tables, output_dir / "tables")


def _selected(record: Record, wanted: dict[str, Any], overrides: Sequence[str]) -> bool:
    mine, theirs = science(wanted), science(record["config"])
    return all(_at(mine, key) == _at(theirs, key) for key in _keys(overrides))


def _keys(overrides: Sequence[str]) -> list[str]:
    """The config keys by which overrides select; an experiment selects by the groups it sets."""
    keys = []
    for override in overrides:
        key, _, choice = override.partition("=")
        key = key.lstrip("+~").replace("/", ".")
        if key == "experiment":
            path = CONF / "experiment" / f"{choice}.yaml"
            defaults = yaml.safe_load(path.read_text()).get("defaults", [])
            named = [name for entry in defaults if isinstance(entry, dict) for name in entry]
            groups = [name.removeprefix("override /") for name in named]
            keys += [group for group in groups if group in SECTIONS]
        elif key in ("seed", "start_from") or key.split(".")[0] in SECTIONS:
            keys.append(key)
        elif key != "output_dir":
            allowed = ", ".join(("output_dir", "experiment", "seed", "start_from", *SECTIONS))
            raise ConfigError(f"{key}: selects nothing; allowed are {allowed} and keys below")
    return keys


def _at(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _write(tables: Sequence[Table], folder: Path) -> list[Path]:
    from attnlab.plots import accuracies

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


def main() -> None:
    """The command line."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        if sys.argv[1:2] == ["power"]:
            from attnlab.power import power

            print("\n".join(power(sys.argv[2:])))
            return
        print("wrote " + ", ".join(str(path) for path in _told(sys.argv[1:])))
    except AttnlabError as error:
        print(f"attnlab: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"attnlab: output_dir: {error.filename} cannot be written ({error.strerror})", file=sys.stderr)
        sys.exit(1)


def _told(arguments: Sequence[str]) -> list[Path]:
    """Print what was asked for; return what was written."""
    if arguments[:1] == ["predictions"]:
        from attnlab.predictions_page import report_predictions
        from attnlab.table_report import show_sheet

        text, paths = report_predictions(arguments[1:])
        show_sheet(text)
        return paths
    if any(argument.startswith("table=") for argument in arguments):
        from attnlab.sheet import sheet
        from attnlab.table_report import report_table, show_sheet

        comparison, paths = report_table(arguments)
        show_sheet(sheet(comparison))
        return paths
    tables, paths = report(arguments)
    show(tables)
    return paths


if __name__ == "__main__":
    main()
