"""List the runs of a folder: id, name, state, test error, time of training, date.

python -m attnlab.runs                                  all runs, the newest last
python -m attnlab.runs attention=se seed=0 [...]        those with these names and values, as of attnlab.report
python -m attnlab.runs state=failed                     state=finished, failed, interrupted or running
python -m attnlab.runs sort=error                       sort=date, error, time, name or state
python -m attnlab.runs format=csv > runs.csv            every value, unrounded
python -m attnlab.runs output_dir=DIR                   of another folder than outputs

A run's state: finished; failed, and why; interrupted, in which epoch; running. A run that was refused before its
training, since a value does not fit, has no folder and is not listed. Its name: attention, model, dataset and
seed, and the other values in which the listed runs differ.
run= of look, judge, evaluate and export, and start_from= of run, name a finished run by its id or the first characters
of it, as last (the run that finished last), or by values: run="attention=se seed=0".
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from attnlab.configuration.cli import command_line
from attnlab.configuration.messages import unknown_choice
from attnlab.errors import ConfigError
from attnlab.machine.terminal import print_wrapped
from attnlab.tables.run_list import ListedRun, list_runs, rows_of

FORMATS = ("table", "csv")
OWN = ("sort", "format", "output_dir", "state")


def runs(arguments: Sequence[str]) -> tuple[list[ListedRun], str]:
    """(the runs that the arguments choose, in order; the format). Prints to stderr what is mixed among them."""
    if bare := [argument for argument in arguments if "=" not in argument]:
        raise ConfigError(f"wrong argument {bare[0]}; allowed is KEY=VALUE, as attention=se")
    values = dict(argument.split("=", 1) for argument in arguments)
    kind = values.get("format", "table")
    if kind not in FORMATS:
        raise ConfigError(unknown_choice("format", kind, FORMATS))
    filters = [argument for argument in arguments if argument.split("=", 1)[0] not in OWN]
    folder, sort = Path(values.get("output_dir", "outputs")), values.get("sort", "date")
    found, notes = list_runs(folder, filters, sort, values.get("state"))
    print_wrapped(*notes, file=sys.stderr)
    return found, kind


@command_line()
def main() -> None:
    """The command line."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    found, kind = runs(sys.argv[1:])
    if kind == "csv":
        rows = rows_of(found)
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    from attnlab.tables.terminal import print_runs

    print_runs(found)


if __name__ == "__main__":
    main()
