"""A run's folder: which part of the config it keeps, what is put aside, and what a failed start leaves behind."""

import os
import shutil
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attnlab.configuration.identity import SECTIONS
from attnlab.configuration.run_name import run_name, title_of
from attnlab.configuration.secrets import hide
from attnlab.errors import ConfigError, TrainingError
from attnlab.machine.ranks import is_first
from attnlab.records.record import read_record, write_json

#: keys of the config that control how a command runs; a run's folder does not keep them
NOT_OF_A_RUN = ("output_dir", "force", "code", "dry_run", "n_jobs", "runs_per_gpu", "objective")


def print_once(text: str) -> None:
    """Print a line on the first rank only."""
    if is_first():
        print(text, flush=True)


def title_in(folder: Path) -> str:
    """The name and the id of the finished run in a folder, for messages. Raises ConfigError for a damaged record."""
    record = read_record(folder, key="run")
    return title_of(run_name(record["config"]), folder.name) if record else folder.name


def without_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config without this machine's folders and without NOT_OF_A_RUN: what config.yaml keeps."""
    dataset = {name: item for name, item in values["dataset"].items() if name not in ("root", "cache")}
    return {name: item for name, item in values.items() if name not in NOT_OF_A_RUN} | {"dataset": dataset}


def recorded_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the config that a record keeps: the science, seed, machine, deterministic and start_from."""
    kept = without_paths(values)
    start = {"start_from": kept["start_from"]} if kept.get("start_from") else {}
    return {name: kept[name] for name in (*SECTIONS, "seed", "machine", "deterministic")} | start


def make_writable(folder: Path, output_dir: str) -> None:
    """Make the folder and try to write a file in it. Raises ConfigError naming output_dir when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"  # a name of its own, since all ranks do this
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"output_dir={output_dir}: cannot be written ({error.strerror})") from error


class FolderState:
    """What a run's folder held before this start, to restore it when the start trains nothing. Nothing is deleted.

    title: of the run, for messages.
    """

    #: files that a start writes before it trains, over those of an earlier start
    REWRITTEN = ("config.yaml", "log.csv", "error.json")

    def __init__(self, folder: Path, title: str) -> None:
        self.folder, self.title = folder, title
        self.aside: Path | None = None
        self.found = {item.name for item in folder.iterdir()}
        self.texts = {name: (folder / name).read_bytes() for name in self.REWRITTEN if name in self.found}

    def put_aside(self) -> None:
        """Move all files but the lock to <folder>.<time>-<process id>, which no report reads."""
        items = [item for item in self.folder.iterdir() if item.name != "lock"]
        if not items:
            return
        self.aside = self.folder.with_name(f"{self.folder.name}.{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}")
        self.aside.mkdir()
        for item in items:
            item.rename(self.aside / item.name)
        print_once(f"{self.title}: the old run is kept in {self.aside}")

    def restore(self) -> None:
        """Remove the files that this start wrote and bring back those that it put aside."""
        kept = {"lock"} if self.aside else {"lock", *self.found}
        for item in self.folder.iterdir():
            if item.name in kept:
                continue
            if item.is_dir():
                shutil.rmtree(item)
            else:
                item.unlink()
        if self.aside is not None:
            for item in self.aside.iterdir():
                item.rename(self.folder / item.name)
            self.aside.rmdir()
            print_once(f"{self.title}: the old run is back in its place")
        for name, text in self.texts.items():
            if (self.folder / name).read_bytes() != text:
                (self.folder / name).write_bytes(text)


def write_error(folder: Path, name: str, values: Mapping[str, Any], error: BaseException) -> None:
    """Write error.json: what stopped the run, with its config. Skipped silently if the disk is full."""
    with suppress(OSError):
        write_json(
            folder / "error.json",
            {
                "id": name,
                "status": "interrupted" if isinstance(error, KeyboardInterrupt) else "failed",
                "type": type(error).__name__,
                "error": hide(str(error)),
                "traceback": hide("".join(traceback.format_exception(error))),
                "config": recorded_config(values),
                "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            },
        )


def disk_error(error: OSError) -> Exception:
    """The TrainingError for a file that cannot be read or written; a ConnectionError is returned as it is."""
    if isinstance(error, ConnectionError):  # nobody reads what the run prints
        return error
    where = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or str(error)
    return TrainingError(f"{where}{reason}; what was saved before stands, and the same command goes on from it")
