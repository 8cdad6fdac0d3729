"""How the runs in a folder stand: finished, failed, interrupted or running."""

import fcntl
import json
import re
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attnlab.configuration.identity import SECTIONS
from attnlab.errors import ConfigError
from attnlab.records.epoch_rows import read_rows
from attnlab.records.record import read_config, read_record
from attnlab.records.record_check import fault

FINISHED, FAILED, INTERRUPTED, RUNNING = "finished", "failed", "interrupted", "running"
STATES = (FINISHED, FAILED, INTERRUPTED, RUNNING)
#: the C layout of `struct flock`: type, whence, start, length, process
FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi"


@dataclass(frozen=True)
class RunState:
    """One run.

    config: None if no file of the run has it yet;  state: one of STATES;  reason: why it failed, in one line;
    epochs: complete ones;  of: how many it trains, None where recipe.steps decides;  error: of the test set in percent,
    None before the end;  seconds: of training so far;  date: when it finished, failed or last wrote a file.
    """

    id: str
    config: Mapping[str, Any] | None
    state: str
    reason: str
    epochs: int
    of: int | None
    error: float | None
    seconds: float | None
    date: datetime

    @property
    def text(self) -> str:
        """`finished`, `failed`, `interrupted in epoch 3 of 20`, `running, epoch 3 of 20`."""
        if self.state in (FINISHED, FAILED):
            return self.state
        epoch = f"epoch {self.epochs + 1}" + (f" of {self.of}" if self.of else "")
        if self.of is not None and self.epochs >= self.of:
            epoch = "its test"
        return f"running, {epoch}" if self.state == RUNNING else f"interrupted in {epoch}"


def run_states(output_dir: str | Path) -> list[RunState]:
    """The state of every run below output_dir, by id. Changes no file."""
    folders = sorted(path for path in Path(output_dir).glob("*/") if re.fullmatch("[0-9a-f]{12}", path.name))
    return [state for folder in folders if (state := _state(folder)) is not None]


def _state(folder: Path) -> RunState | None:
    """The state of one run; None for a folder in which no run has left a file."""
    record, reason = _record(folder)
    rows, failure = read_rows(folder / "log.csv"), _read_json(folder / "error.json")
    running = _is_locked(folder / "lock")
    dates = [path.stat().st_mtime for name in ("config.yaml", "log.csv") if (path := folder / name).exists()]
    if record is None and failure is None and not (reason or dates or running):
        return None
    # A later start that was killed leaves the error.json of the earlier one, but has written config.yaml since.
    with suppress(OSError):
        failed_at = (folder / "error.json").stat().st_mtime
        failure = failure if failed_at >= max(dates, default=0.0) else None
    config = _config(record, failure, folder)
    seconds = float(rows[-1]["seconds"]) if rows else None
    error, date = None, max(dates, default=folder.stat().st_mtime)
    if running:
        state, reason = RUNNING, ""
    elif record is not None:
        state, error, seconds = FINISHED, record["metrics"]["test/top1_error"], record["seconds"]
        date = _seconds_of(record.get("finished")) or (folder / "result.json").stat().st_mtime
    elif reason or (failure is not None and failure.get("status") == FAILED):
        state, reason = FAILED, reason or " ".join(str((failure or {}).get("error")).split())
        date = _seconds_of((failure or {}).get("time")) or date
    else:
        state = INTERRUPTED
    return RunState(
        folder.name, config, state, reason, len(rows), _epochs_of(config), error, seconds,
        datetime.fromtimestamp(date, UTC).astimezone(),
    )  # fmt: skip


def _record(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """(the run's record, "") or, where there is none, (None, what is wrong with it)."""
    try:
        record = read_record(folder, key="run")
    except ConfigError as error:
        return None, str(error).partition(": ")[2]
    if record is None:
        return None, ""
    reason = fault(record, folder.name)
    return (None, f"its result.json {reason}") if reason else (record, "")


def _config(record: Mapping[str, Any] | None, failure: Mapping[str, Any] | None, folder: Path) -> Any:
    """The run's config, from the first of its files that has a valid one; None if none has."""
    for found in (record, failure):
        if found is not None and _is_config(found.get("config")):
            return found["config"]
    with suppress(ConfigError):
        return read_config(folder)
    return None


def _is_config(values: Any) -> bool:
    return (
        isinstance(values, Mapping) and "seed" in values and all(isinstance(values.get(s), Mapping) for s in SECTIONS)
    )


def _epochs_of(config: Mapping[str, Any] | None) -> int | None:
    recipe = (config or {}).get("recipe", {})
    return recipe.get("epochs") if recipe.get("steps") is None else None


def _seconds_of(text: Any) -> float | None:
    """The seconds since 1970 of a time in ISO format; None for any other text."""
    with suppress(TypeError, ValueError):
        return datetime.fromisoformat(text).timestamp()
    return None


def _read_json(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text())
        return found if isinstance(found, dict) else None
    return None


def _is_locked(path: Path) -> bool:
    """Whether another process holds the lock of a run (open_run.py). It is asked for and not taken."""
    asked = {"qqihh": (0, 0, 0, fcntl.F_WRLCK, 0), "hhqqi": (fcntl.F_WRLCK, 0, 0, 0, 0)}[FLOCK]
    try:
        with path.open("rb") as file:
            answer = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(FLOCK, *asked)))
    except OSError:
        return False
    return answer[FLOCK.index("h")] != fcntl.F_UNLCK
