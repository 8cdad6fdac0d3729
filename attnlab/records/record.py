"""Records: one JSON file for each finished run, OUTPUT_DIR/<run id>/result.json, written atomically."""

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from attnlab.configuration.run_name import MOST_LISTED, listed
from attnlab.errors import ConfigError
from attnlab.records.atomic import write_text
from attnlab.records.conflicts import conflict
from attnlab.records.record_check import checksum, fault

Record = dict[str, Any]
#: the records that are tracked in the repository
RESULTS = Path("results")
#: in place of an id: the run that finished last
LAST = "last"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_record(folder: Path, *, key: str = "") -> Record | None:
    """The record in a run's folder, not checked; None if the run has not finished. Raises ConfigError for bad JSON.

    key: the config key by which the user named a run that is not to be trained, for the message.
    """
    try:
        return json.loads((folder / "result.json").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        if key:
            raise ConfigError(f"{key}={folder.name}: its result.json cannot be read ({error})") from error
        raise ConfigError(
            f"{folder.name}/result.json cannot be read ({error}); force=true moves it aside and runs again"
        ) from error


def read_valid_record(folder: Path, *, key: str = "run") -> Record:
    """The record of a finished run. Raises ConfigError if it is missing or not valid; key: as in `read_record`."""
    record = read_record(folder, key=key)
    if reason := fault(record, folder.name):
        raise ConfigError(f"{key}={folder.name}: its result.json {reason}")
    return record or {}


def seal(record: Mapping[str, Any]) -> Record:
    """The record with its checksum, which detects later edits."""
    return dict(record) | {"checksum": checksum(record)}


def gather(*output_dirs: str | Path) -> tuple[list[Record], list[str]]:
    """Load every finished record below the folders; returns (records by id, one line per rejected file).

    A record is result.json in a run's folder, or a tracked records/<run id>.json. Folders that force=true moved aside
    do not count. Rejected are files that cannot be read, that were edited, or whose config has another id; and all
    records of one run whose results differ. Writes nothing.
    """
    found: dict[str, list[tuple[Path, Record]]] = {}
    left_out = []
    for output_dir in dict.fromkeys(map(str, output_dirs)):
        folder = Path(output_dir)
        paths = [path for path in folder.glob("*/result.json") if "." not in path.parent.name]
        paths += folder.glob("*.json") if folder.name == "records" else folder.glob("**/records/*.json")
        for path in sorted(paths):
            try:
                record = json.loads(path.read_text())
                reason = fault(record, path.parent.name if path.name == "result.json" else path.stem)
            except (OSError, ValueError, RecursionError) as error:
                reason = f"cannot be read as a record ({error})"
            if reason:
                left_out.append(f"{path}: {reason}")
            else:
                found.setdefault(record["id"], []).append((path, record))
    kept = []
    for name, there in sorted(found.items()):
        if line := conflict(name, there):
            left_out.append(line)
        else:  # the run was repeated with equal results: keep the last record
            kept.append(max((record for _, record in there), key=lambda record: record.get("finished") or ""))
    return kept, left_out


def is_recorded(folder: Path) -> bool:
    """Whether a run's folder holds its record, and the record is valid."""
    try:
        record = read_record(folder)
    except ConfigError:
        return False
    return record is not None and not fault(record, folder.name)


def finished_folders(output_dir: str | Path) -> list[Path]:
    """The folders below output_dir that hold a result.json, sorted; without those that were put aside."""
    return sorted(path.parent for path in Path(output_dir).glob("*/result.json") if "." not in path.parent.name)


def find_run(run_id: str, output_dir: str | Path = "outputs", *, key: str = "run") -> Path:
    """The folder of a finished run, by its id, the first characters of it, or `last`, the run that finished last.

    key: the config key by which the user named it, for the message.
    Raises ConfigError unless exactly one run fits; the message lists those that fit, else those there are, by name.
    """
    folders = finished_folders(output_dir)
    if run_id == LAST and folders:
        return max(folders, key=_finished_at)
    fitting = [folder for folder in folders if run_id and folder.name.startswith(run_id)]
    if len(fitting) == 1:
        return fitting[0]
    begun = [path.parent.name for path in Path(output_dir).glob("*/config.yaml") if run_id]
    if not fitting and (unfinished := [name for name in begun if name.startswith(run_id) and "." not in name]):
        state = f"{unfinished[0]} has not finished; python -m attnlab.runs output_dir={output_dir} says how it stands"
        raise ConfigError(f"{key}={run_id}: {state}")
    shown = (fitting or folders)[:MOST_LISTED]
    known = listed([(folder.name, _config_of(folder)) for folder in shown], len(fitting or folders))
    there = f"there are\n{known}" if known else "there are none yet"
    state = "fits several runs" if fitting else "no such finished run"
    raise ConfigError(f"{key}={run_id}: {state} in output_dir={output_dir}; {there}")


def _finished_at(folder: Path) -> tuple[str, int]:
    """When a run finished, as a sortable value; older records do not say it."""
    return str(_unchecked(folder).get("finished") or ""), (folder / "result.json").stat().st_mtime_ns


def _config_of(folder: Path) -> Mapping[str, Any] | None:
    """The config in a run's record; None if the record is not valid."""
    record = _unchecked(folder)
    return None if fault(record, folder.name) else record["config"]


def _unchecked(folder: Path) -> Record:
    """The record in a run's folder, not checked; empty if it cannot be read."""
    try:
        return dict(read_record(folder) or {})
    except (ConfigError, TypeError, ValueError):
        return {}


def read_config(folder: Path, *, key: str = "run") -> dict[str, Any]:
    """The config.yaml in a run's folder, as plain values, with no interpolation resolved.

    The file may come from anyone. Raises ConfigError, naming the key by which the user named the run, if it cannot be
    read, or if its science has another id than the run.
    """
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from attnlab.configuration.identity import SECTIONS, run_id

    try:
        values: Any = deepcopy(_parsed((folder / "config.yaml").read_text()))
        if missing := [
            name for name in SECTIONS if not isinstance(values, dict) or not isinstance(values.get(name), dict)
        ]:
            raise ValueError(f"it has no {missing[0]}")
        if "seed" not in values:
            raise ValueError("it has no seed")
        other = run_id(values)
    except FileNotFoundError as error:
        raise ConfigError(f"{key}={folder.name}: its config.yaml is missing") from error
    except (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(
            f"{key}={folder.name}: its config.yaml cannot be read ({str(error).splitlines()[0]})"
        ) from error
    if other != folder.name:
        raise ConfigError(
            f"{key}={folder.name}: its config.yaml was edited: it is the config of run {other}; result.json still "
            "has the original"
        )
    return values


@cache
def _parsed(text: str) -> Any:
    """The content of a config.yaml. It is kept, since PyYAML is slow and a command reads the same file several times.

    Raises ValueError for an alias, and what OmegaConf and PyYAML raise.
    """
    from omegaconf import OmegaConf
    from yaml import AliasToken, scan

    # a few lines of nested aliases can expand to a value that fills the memory
    if any(isinstance(token, AliasToken) for token in scan(text)):
        raise ValueError("it has a YAML alias, which attnlab never writes")
    return OmegaConf.to_container(OmegaConf.load(StringIO(text)), resolve=False)
