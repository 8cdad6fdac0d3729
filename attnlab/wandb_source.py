"""Records from Weights & Biases: what the runs of a team, on many machines, left in one project.

At its end a tracked run hands its whole record to W&B, as one JSON text in the run's summary: what comes back equals
result.json, every digit of it. (A nest would not survive: W&B's summary is flattened at its fourth dot.)
"""

import json
import re
from collections.abc import Collection
from typing import Any

from attnlab.errors import AttnlabError, ConfigError
from attnlab.results import RECORD_KEYS, Record

#: the key of a W&B run's summary under which its record stands
SUMMARY_KEY = "record"
TIMEOUT = 30  # seconds for each answer of the server; a page of runs is one answer
PAGE = 50  # runs
PATH = re.compile(r"([^/\s]+/)?[^/\s]+")


def wandb_records(path: str, ids: Collection[str] | None = None) -> tuple[list[Record], list[str]]:
    """The records of a W&B project's finished runs, by id, and a line for each run that is left out, saying why.

    path: ENTITY/PROJECT, or PROJECT of the account's default entity;  ids: ask for these runs only, None: for all.
    Raises ConfigError without a login, without such a project, and when the server cannot be read.
    """
    if not PATH.fullmatch(path):
        raise ConfigError(f"source=wandb:{path}: must be wandb:ENTITY/PROJECT, or wandb:PROJECT of the default entity")
    if ids is not None and not ids:
        return [], []
    read, left_out = [], []
    for run in _runs(path, {} if ids is None else {"name": {"$in": sorted(ids)}}):  # W&B's name is a run's id
        try:
            read.append((_record(run), run.id))
        except ValueError as error:
            left_out.append(f"W&B run {run.id}: {error}")
    found: dict[str, Record] = {}
    # `wandb sync --id` makes copies: the run that has attnlab's id goes first
    for record, name in sorted(read, key=lambda pair: pair[1] != pair[0]["id"]):
        if ids is not None and record["id"] not in ids:
            left_out.append(f"W&B run {name}: holds the record of another run, {record['id']}")
        elif record["id"] in found:
            left_out.append(f"W&B run {name}: holds the record of {record['id']} a second time")
        else:
            found[record["id"]] = record
    return [found[name] for name in sorted(found)], left_out


def _record(run: Any) -> Record:
    """The record in a run's summary; raises ValueError, with the reason, when it has none."""
    if run.state != "finished":
        raise ValueError(f"not finished ({run.state})")
    text = run.summary_metrics.get(SUMMARY_KEY)
    if not isinstance(text, str):
        raise ValueError("holds no record: not attnlab's, or ended without one")
    try:
        record = json.loads(text)
    except ValueError as error:
        raise ValueError(f"its record cannot be read ({error})") from error
    if not isinstance(record, dict) or not record.keys() >= RECORD_KEYS:
        lacks = RECORD_KEYS - set(record) if isinstance(record, dict) else RECORD_KEYS
        raise ValueError(f"its record lacks {', '.join(sorted(lacks))}")
    return record


def _runs(path: str, filters: dict[str, Any]) -> list[Any]:
    """A project's runs with their summaries. Never asks for a key: a table may be built where nobody sits."""
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    try:
        if not wandb.login(prompt=False, verify=False):
            todo = "`wandb login`, or WANDB_API_KEY; WANDB_MODE must not be offline"
            raise ConfigError(f"source=wandb:{path}: no login found ({todo})")
        return list(wandb.Api(timeout=TIMEOUT).runs(path, filters=filters, per_page=PAGE, lazy=False))
    except AttnlabError:
        raise
    except Exception as error:  # of many types, not all of them public
        why = next(iter(str(error).splitlines()), type(error).__name__)
        if "Could not find project" in why:
            todo = "is it spelt ENTITY/PROJECT as in its address, and may this account read it?"
            raise ConfigError(f"source=wandb:{path}: no such project; {todo}") from error
        todo = f"after {TIMEOUT} s at most; see to network, login and WANDB_BASE_URL, or tabulate without source="
        raise ConfigError(f"source=wandb:{path}: W&B's server cannot be read ({why}); {todo}") from error
