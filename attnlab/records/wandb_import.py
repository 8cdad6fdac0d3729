"""Records from Weights & Biases: those of a team's runs, on many machines, in one project.

A tracked run ends by storing its record in the run's W&B summary, twice: as nested values, which W&B's tables and
panels show, and as one JSON text. The text is read here, so that the imported record equals result.json exactly. (W&B
writes 1.0 as 1 and flattens deep levels, so that the checksum of the nested values would not fit.)
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from attnlab.configuration.secrets import hide
from attnlab.errors import ConfigError
from attnlab.records.conflicts import conflict
from attnlab.records.record import Record
from attnlab.records.record_check import fault

#: the keys of the record in a W&B run's summary: its nested values, and its exact text
NESTED_KEY, TEXT_KEY = "record", "record_json"
#: the config key of attnlab's run id; in a sweep of W&B's the run has another one of W&B's
RUN_KEY = "run"
TIMEOUT = 30  # seconds for each answer of the server; one page of runs is one answer
PAGE = 50  # runs
PATH = re.compile(r"([^/\s]+/)?[^/\s]+")


def wandb_records(path: str, ids: Collection[str] | None = None) -> tuple[list[Record], list[str]]:
    """(records of a W&B project's finished runs, by id; a line for each run that is left out, with the reason).

    Left out are unfinished runs, runs without a record, invalid records (record_check.fault), further records of a run,
    and all records of a run whose results differ.
    path: ENTITY/PROJECT, or PROJECT of the account's default entity;  ids: only these runs, None: all.
    Raises ConfigError without a login, for an unknown project, and if the server cannot be read.
    """
    if not PATH.fullmatch(path):
        raise ConfigError(f"source=wandb:{path}: must be wandb:ENTITY/PROJECT, or wandb:PROJECT of the default entity")
    if ids is not None and not ids:
        return [], []
    read, left_out = [], []
    for run in _runs(path, {} if ids is None else _filters(ids)):
        try:
            read.append((_record(run), run["id"]))
        except ValueError as error:
            left_out.append(f"W&B run {run['id']}: {error}")
    found: dict[str, Record] = {}
    there: dict[str, list[tuple[Path, Record]]] = {}
    # `wandb sync --id` makes copies, so the run with attnlab's own id comes first
    for record, name in sorted(read, key=lambda pair: pair[1] != pair[0]["id"]):
        if ids is not None and record["id"] not in ids:
            left_out.append(f"W&B run {name}: holds the record of another run, {record['id']}")
        elif record["id"] in found:
            left_out.append(f"W&B run {name}: holds the record of {record['id']} a second time")
            there[record["id"]].append((Path(f"W&B run {name}"), record))
        else:
            found[record["id"]] = record
            there[record["id"]] = [(Path(f"W&B run {name}"), record)]
    for name, same in there.items():
        if line := conflict(name, same, "deleting one on W&B, or source=DIR,"):
            left_out.append(line)
            del found[name]
    return [found[name] for name in sorted(found)], left_out


def _filters(ids: Collection[str]) -> dict[str, Any]:
    """W&B's filter for some of attnlab's runs: by W&B's own id (`name`), or by the config."""
    wanted = {"$in": sorted(ids)}
    return {"$or": [{"name": wanted}, {f"config.{RUN_KEY}": wanted}]}


def _record(run: Mapping[str, Any]) -> Record:
    """The record in a run's summary. Raises ValueError, with the reason, if there is no valid one."""
    if run["state"] != "finished":
        raise ValueError(f"not finished ({run['state']})")
    if run["text"] is None:
        raise ValueError("holds no record: not attnlab's, or ended without one")
    try:
        record = json.loads(run["text"])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its record cannot be read ({error})") from error
    if reason := fault(record, record.get("id", "") if isinstance(record, dict) else ""):
        raise ValueError(reason)
    return record


def _runs(path: str, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Id, state and record (as text) of a project's runs, read by wandb_query in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        bounds = {"page": PAGE, "timeout": TIMEOUT, "folder": folder}
        keys = [TEXT_KEY, NESTED_KEY]  # an older attnlab stored the text where the nested values are today
        question = json.dumps({"path": path, "filters": filters, "keys": keys} | bounds)
        command = [sys.executable, "-m", "attnlab.records.wandb_query"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        # The answer goes to a file, since W&B's service would hold a pipe open.
        errors = Path(folder) / "stderr"
        with errors.open("w") as file:
            null = subprocess.DEVNULL
            subprocess.run(command, input=question, text=True, stdout=null, stderr=file, env=environment, check=False)
        try:
            answer = json.loads((Path(folder) / "answer.json").read_text())
        except FileNotFoundError:
            answer = {"error": (errors.read_text().splitlines() or ["no answer"])[-1]}
    if "runs" in answer:
        return answer["runs"]
    if "error" not in answer:
        why, todo = "no login found", "`wandb login`, or WANDB_API_KEY; and WANDB_MODE must not be offline"
    elif "Could not find project" in answer["error"]:
        why, todo = "no such project", "is it spelt ENTITY/PROJECT as in its address, and may this account read it?"
    else:
        why = f"W&B's server cannot be read ({hide(answer['error'])})"
        todo = f"after {TIMEOUT} s at most; see to network, login and WANDB_BASE_URL, or tabulate without source="
    raise ConfigError(f"source=wandb:{path}: {why}; {todo}")
