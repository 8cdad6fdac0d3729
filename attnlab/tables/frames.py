"""Finished runs and their epochs as pandas DataFrames."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlab.configuration.digest import canonical
from attnlab.configuration.identity import SECTIONS, cell
from attnlab.configuration.keys import leaves
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError
from attnlab.records.epoch_rows import COLUMNS, read_rows
from attnlab.records.record import Record, finished_folders, gather
from attnlab.tables.named_run import named_run

if TYPE_CHECKING:
    import pandas as pd

#: entries of a record that are no column of their own
NOT_A_COLUMN = ("id", "config", "metrics", "versions")
FIRST_EPOCH = 1  # files count epochs from 0; frames count as lines and figures do


def load_results(output_dir: str | Path = "outputs") -> "pd.DataFrame":
    """A row for each finished run: id, cell, seed, the short names of its parts, metrics, costs, device.

    A key of the config that has several values among these runs is a column as well: `attention.reduction`,
    `recipe.optimizer.lr`; null where a run has no such key, and a text as `[1,2]` where it is a list. What is nested in
    a record, as the digests of its code, is no column: read result.json. best_epoch counts from 1.
    Raises ConfigError if there is no such folder; warns if it holds no finished run, and of records that are left out.
    """
    import pandas as pd

    found, left_out = gather(_existing(output_dir))
    if not found:
        left_out.append(f"output_dir={output_dir}: holds no finished run")
    for line in left_out:
        warnings.warn(line, stacklevel=2)
    rows = [row | varying for row, varying in zip(map(_row, found), _varying(found), strict=True)]
    return pd.DataFrame(rows)


def load_history(run: str | None = None, output_dir: str | Path = "outputs") -> "pd.DataFrame":
    """A row for each epoch of a finished run: the columns of its log.csv, after the run's id.

    run: an id or its first characters, `last`, the printed name, or values, "attention=se seed=0"; None: all finished
    runs. Epochs count from 1 (in log.csv from 0), errors are in percent; an epoch without a validation has NaN there.
    Raises ConfigError unless exactly one run fits, for a run without its log.csv, and if there is no such folder.
    """
    import pandas as pd

    folder = _existing(output_dir)
    folders = finished_folders(folder) if run is None else [folder / named_run(run, folder)]
    rows = []
    for one in folders:
        of_run = read_rows(one / "log.csv")
        if not of_run and run is not None:
            raise ConfigError(f"run={one.name}: its log.csv is missing or holds no epoch")
        rows += [{"id": one.name, **row} for row in of_run]
    frame = pd.DataFrame(rows, columns=["id", *COLUMNS])
    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in COLUMNS})
    return frame.assign(epoch=frame["epoch"] + FIRST_EPOCH)


def _existing(output_dir: str | Path) -> Path:
    if not (folder := Path(output_dir)).is_dir():
        raise ConfigError(f"output_dir={output_dir}: no such folder; allowed is the folder in which the runs lie")
    return folder


def _row(record: Record) -> dict[str, Any]:
    config = record["config"]
    row = {"id": record["id"], "cell": cell(config), "seed": config["seed"]}
    row |= {section: name_of(section, config[section], config) for section in SECTIONS}
    row |= record["metrics"]
    row |= {
        name: value
        for name, value in record.items()
        if name not in NOT_A_COLUMN and not isinstance(value, Mapping | list)
    }
    if row.get("best_epoch") is not None:
        row["best_epoch"] += FIRST_EPOCH
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
