"""Tables from records.

python -m attnlab.report table=NAME [source=wandb:ENTITY/PROJECT]      a declared table: md, tex, csv, html, png
python -m attnlab.report ... source=DIR                                only from the records of one folder
python -m attnlab.report [output_dir=DIR] [dataset=cifar10 ...]        all records, or those that have these values
python -m attnlab.report attention=se,ise model=resnet20               one table of what is recorded of these
python -m attnlab.report ... format=paper                              only the LaTeX table of a paper, printed
python -m attnlab.report ... notes=false                               prints no notes on how to read the numbers
python -m attnlab.report predictions run=ID | run=ID,ID | table=NAME   predictions on the test images: see below
python -m attnlab.report power effect=0.2 sd=0.18 design=paired        how many seeds a difference needs, and their cost
python -m attnlab.report power margin=0.3 sd=0.18 comparisons=4        the same, to show that rows are equivalent

predictions: for a run, the error by class and the reliability diagram; for two runs, McNemar's test as well; for a
table, the interval over test images beside the one over seeds, and how far seeds agree.

With table=NAME the arguments are those of `python -m attnlab.run table=NAME`, but nothing is run. Without it, an
override of dataset, model, attention, head or recipe selects the records that tables call by this name (attention=se:
se, se reduction=8), a key below them the records with that value, or with one of several (seed=0,1), and
experiment=NAME selects by the values that the experiment sets. If two records of
one run differ, both are left out and named until source=DIR chooses one of them.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attnlab.configuration.cli import command_line
from attnlab.errors import ConfigError
from attnlab.machine.terminal import print_wrapped
from attnlab.tables.overview import compare_selected, report, write_paper_of_records

__all__ = ["main", "report"]

FORMATS = ("report", "paper")


@command_line()
def main() -> None:
    """The command line."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    if sys.argv[1:2] == ["power"]:
        from attnlab.tables.power import power

        print_wrapped(*power(sys.argv[2:]))
        return
    paths = _report(sys.argv[1:])
    to = sys.stderr if "format=paper" in sys.argv else sys.stdout  # so that stdout is LaTeX only
    print_wrapped("wrote " + ", ".join(map(str, paths)), file=to)


def _report(arguments: Sequence[str]) -> list[Path]:
    """Print the report that the arguments name; return its files."""
    from attnlab.tables.terminal import print_page

    kind, arguments = _format(arguments)
    with_notes, arguments = _notes(arguments)
    is_table = any(argument.startswith("table=") for argument in arguments)
    if arguments[:1] == ["predictions"]:
        from attnlab.tables.predictions_page import report_predictions

        page, paths = report_predictions(arguments[1:])
        pages = [page]
    elif kind == "paper":
        from attnlab.tables.write import compare_recorded, output_dir_of, write_paper

        output_dir = output_dir_of(arguments)
        if is_table:
            path = write_paper(compare_recorded(arguments), output_dir)
        else:
            path = write_paper_of_records(compare_selected(arguments), output_dir)
        print(path.read_text())
        return [path]
    elif is_table:
        from attnlab.tables.write import report_table

        _, paths, page = report_table(arguments)
        pages = [page]
    else:
        _, paths, pages = report(arguments)
    for page in pages:
        print_page(page if with_notes else replace(page, notes=[]))
        print_wrapped(*page.answer)
    return paths


def _format(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """(the value of format=, the other arguments)."""
    kinds = [argument.partition("=")[2] for argument in arguments if argument.startswith("format=")]
    if unknown := [kind for kind in kinds if kind not in FORMATS]:
        raise ConfigError(f"unknown choice format={unknown[0]}; allowed are {', '.join(FORMATS)}")
    return (kinds or ["report"])[-1], [argument for argument in arguments if not argument.startswith("format=")]


def _notes(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """(the value of notes=, the other arguments)."""
    given = [argument.partition("=")[2] for argument in arguments if argument.startswith("notes=")]
    if wrong := [value for value in given if value not in ("true", "false")]:
        raise ConfigError(f"wrong value notes={wrong[0]}; allowed is true or false")
    return (given or ["true"])[-1] == "true", [item for item in arguments if not item.startswith("notes=")]


if __name__ == "__main__":
    main()
