"""Finished runs and their epochs as pandas DataFrames."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlab.configuration.digest import canonical
from attnlab.configuration.identity import SECTIONS, cell
from attnlab.configuration.keys import leaves
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError
from attnlab.records.epoch_rows import COLUMNS, read_rows
from attnlab.records.record import Record, find_run, finished_folders, records

if TYPE_CHECKING:
    import pandas as pd

#: entries of a record that are no column of their own
NOT_A_COLUMN = ("id", "config", "metrics", "versions")


def load_results(output_dir: str | Path = "outputs") -> "pd.DataFrame":
    """A row for each finished run: id, cell, seed, the short names of its parts, metrics, costs, device.

    A key of the config that has several values among these runs is a column as well: `attention.reduction`,
    `recipe.optimizer.lr`; null where a run has no such key, and a text as `[1,2]` where it is a list.
    """
    import pandas as pd

    found = records(output_dir)
    rows = [row | varying for row, varying in zip(map(_row, found), _varying(found), strict=True)]
    return pd.DataFrame(rows)


def load_history(run_id: str | None = None, output_dir: str | Path = "outputs") -> "pd.DataFrame":
    """A row for each epoch of a finished run: the columns of its log.csv, after the run's id.

    run_id: an id, its first characters, or `last`; None: of all finished runs. Epochs count from 0, errors are in
    percent; an epoch without a validation has NaN there.
    Raises ConfigError for a run that is not found, and for one without its log.csv.
    """
    import pandas as pd

    folders = finished_folders(output_dir) if run_id is None else [find_run(run_id, output_dir)]
    rows = []
    for folder in folders:
        of_run = read_rows(folder / "log.csv")
        if not of_run and run_id is not None:
            raise ConfigError(f"run={folder.name}: its log.csv is missing or holds no epoch")
        rows += [{"id": folder.name, **row} for row in of_run]
    frame = pd.DataFrame(rows, columns=["id", *COLUMNS])
    return frame.assign(**{name: pd.to_numeric(frame[name]) for name in COLUMNS})


def _row(record: Record) -> dict[str, Any]:
    config = record["config"]
    row = {"id": record["id"], "cell": cell(config), "seed": config["seed"]}
    row |= {section: name_of(section, config[section], config) for section in SECTIONS}
    row |= record["metrics"]
    row |= {name: value for name, value in record.items() if name not in NOT_A_COLUMN}
    return row | {"classes": config["dataset"]["classes"]}


def _varying(found: list[Record]) -> list[dict[str, Any]]:
    """For each run, {key of its config: value} of the keys in which the runs differ, in alphabetical order."""
    parts = (*SECTIONS, "start_from")
    flat = [leaves(canonical({part: record["config"].get(part) for part in parts})) for record in found]
    keys = sorted({key for values in flat for key in values})
    differ = [key for key in keys if len({json.dumps(values.get(key)) for values in flat}) > 1]
    return [{key: _text_of_lists(values.get(key)) for key in differ} for values in flat]


def _text_of_lists(value: Any) -> Any:
    """The value; a list as one types it, since pandas does not group by lists."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else value
