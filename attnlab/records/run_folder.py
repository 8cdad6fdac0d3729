"""A run's folder: who holds it, what goes aside, what a failure leaves behind."""

import fcntl
import os
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attnlab.configuration.identity import SECTIONS
from attnlab.configuration.secrets import hide
from attnlab.errors import AttnlabError, ConfigError, TrainingError
from attnlab.machine.ranks import is_first
from attnlab.records.record import write_json

#: keys of the config that say what is done, not what is trained
NOT_OF_A_RUN = ("output_dir", "force", "code", "dry_run", "n_jobs", "runs_per_gpu")


def say(text: str) -> None:
    """Print a line, once for all ranks."""
    if is_first():
        print(text, flush=True)


def without_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config without what belongs to this machine's folders."""
    dataset = {name: item for name, item in values["dataset"].items() if name not in ("root", "cache")}
    return {name: item for name, item in values.items() if name not in NOT_OF_A_RUN} | {"dataset": dataset}


def recorded_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the config that a record keeps: the science, and what it ran on."""
    kept = without_paths(values)
    start = {"start_from": kept["start_from"]} if kept.get("start_from") else {}
    return {name: kept[name] for name in (*SECTIONS, "seed", "machine", "deterministic")} | start


def make_writable(folder: Path, output_dir: str) -> None:
    """The folder, once a file could be written there. Raises ConfigError naming output_dir."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"  # ranks may meet here
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"output_dir={output_dir}: cannot be written ({error.strerror})") from error


class Start:
    """One start of a run in its folder: what is there is put aside or kept, never deleted, and comes back when the
    start trains nothing."""

    #: what a start writes before it trains, over what an earlier one has left
    REWRITTEN = ("config.yaml", "log.csv", "error.json")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.aside: Path | None = None
        self.found = {item.name for item in folder.iterdir()}
        self.texts = {name: (folder / name).read_bytes() for name in self.REWRITTEN if name in self.found}

    def put_aside(self) -> None:
        """Move all that is there to a folder of its own, which no report reads; the lock file stays."""
        items = [item for item in self.folder.iterdir() if item.name != "lock"]
        if not items:
            return
        self.aside = self.folder.with_name(f"{self.folder.name}.{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}")
        self.aside.mkdir()
        for item in items:
            item.rename(self.aside / item.name)
        say(f"{self.folder.name}: the old run is kept in {self.aside}")

    def undo(self) -> None:
        """Drop what this start wrote, and nothing else; bring back what it put aside."""
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
            say(f"{self.folder.name}: the old run is back in its place")
        for name, text in self.texts.items():
            if (self.folder / name).read_bytes() != text:
                (self.folder / name).write_bytes(text)


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """Hold the run's folder; the lock ends with the process, however it ends. Other ranks of this run pass."""
    path = folder / "lock"
    if not is_first():
        yield path
        return
    with path.open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not shared with forked workers, unlike flock
        except OSError as error:
            raise AttnlabError(f"{folder.name}: is being trained by another process; not started twice") from error
        yield path


def write_error(folder: Path, name: str, values: Mapping[str, Any], error: BaseException) -> None:
    """Leave error.json: what stopped the run, and its config; nothing on a disk that takes nothing more."""
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
    """What a file that cannot be written or read means for a run: a full disk, a folder gone or made read-only."""
    if isinstance(error, ConnectionError):  # nobody reads what the run prints
        return error
    where = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or str(error)
    return TrainingError(f"{where}{reason}; what was saved before stands, and the same command goes on from it")
