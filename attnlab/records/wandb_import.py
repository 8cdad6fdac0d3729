"""Records from Weights & Biases: what the runs of a team, on many machines, left in one project.

At its end a tracked run hands its whole record to W&B, as one JSON text in the run's summary: what comes back equals
result.json, every digit of it. (A nest would not survive: W&B flattens a summary, and keeps four levels of it.)
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
from attnlab.records.record import Record, fault

#: the key of a W&B run's summary under which its record stands
SUMMARY_KEY = "record"
TIMEOUT = 30  # seconds for each answer of the server; a page of runs is one answer
PAGE = 50  # runs
PATH = re.compile(r"([^/\s]+/)?[^/\s]+")


def wandb_records(path: str, ids: Collection[str] | None = None) -> tuple[list[Record], list[str]]:
    """The records of a W&B project's finished runs, by id, and a line for each run that is left out, saying why.

    Left out is what has not finished, what holds no record, a record that a table would not believe either if it were
    a file (results.fault), a second record of one run, and all of one run that differ in their results.
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
            read.append((_record(run), run["id"]))
        except ValueError as error:
            left_out.append(f"W&B run {run['id']}: {error}")
    found: dict[str, Record] = {}
    there: dict[str, list[tuple[Path, Record]]] = {}
    # `wandb sync --id` makes copies: the run that has attnlab's id goes first
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


def _record(run: Mapping[str, Any]) -> Record:
    """The record in a run's summary; raises ValueError, with the reason, when it has none."""
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
    """Id, state and record, as text, of a project's runs, read by wandb_query in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        bounds = {"page": PAGE, "timeout": TIMEOUT, "folder": folder}
        question = json.dumps({"path": path, "filters": filters, "key": SUMMARY_KEY} | bounds)
        command = [sys.executable, "-m", "attnlab.records.wandb_query"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        # Its answers go to files: W&B's service would hold a pipe open.
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
