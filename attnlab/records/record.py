"""Records: one JSON file a finished run, OUTPUT_DIR/<run id>/result.json, written whole or not at all."""

import json
import reprlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlab.configuration.digest import digest
from attnlab.errors import AttnlabError, ConfigError
from attnlab.records.atomic import write_text
from attnlab.records.conflicts import conflict

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
#: the records that a checkout brings along
RESULTS = Path("results")
#: what every table needs
RECORD_KEYS = {
    "checksum", "id", "config", "metrics", "params", "data_hash", "device", "precision", "world_size", "versions",
    "seconds", "commit", "dirty",
}  # fmt: skip
#: what tables and runs take a record's values for; all other metrics are numbers or null as well
KINDS = {
    "metrics.test/top1_error": "a number", "versions.torch": "a text",
    "params": "a number", "macs": "a number or null", "seconds": "a number", "images_per_second": "a number or null",
    "peak_memory": "a number or null", "world_size": "a number", "data_hash": "a text", "device": "a text",
    "precision": "a text", "commit": "a text or null", "dirty": "a boolean or null", "finished": "a text or null",
    "predictions": "a text or null",
}  # fmt: skip
MOST = 1e100  # of a number: a variance must be one, too


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file so that a reader sees all of it or nothing."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_record(folder: Path, *, key: str = "") -> Record | None:
    """The record of a run's folder, or None when the run has not finished. Raises ConfigError for what is no JSON.

    key: under which the user gave a run that is not to be trained, for the message.
    """
    try:
        return json.loads((folder / "result.json").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        if key:
            raise ConfigError(f"{key}={folder.name}: its result.json cannot be read ({error})") from error
        raise ConfigError(
            f"{folder.name}/result.json cannot be read ({error}); force=true puts it aside and runs anew"
        ) from error


def believed(folder: Path, *, key: str = "run") -> Record:
    """The record of a finished run, once it is one to believe. Raises ConfigError; key: as of `read_record`."""
    record = read_record(folder, key=key)
    if reason := fault(record, folder.name):
        raise ConfigError(f"{key}={folder.name}: its result.json {reason}")
    return record or {}


def seal(record: Mapping[str, Any]) -> Record:
    """The record with its checksum, by which a later edit is noticed."""
    return dict(record) | {"checksum": checksum(record)}


def checksum(record: Mapping[str, Any]) -> str:
    """The digest of all that a record says, but for its checksum."""
    return digest({name: item for name, item in record.items() if name != "checksum"})


def gather(*output_dirs: str | Path) -> tuple[list[Record], list[str]]:
    """All finished records below some folders, by id; and why a file that should be one is left out, a line each.

    A record is result.json in a run's folder, or a tracked <run id>.json; folders put aside by force=true do not count.
    Left out is what cannot be read, was edited since it was written, or is of another run than its id says; and all
    records of one run that have other results than each other. Nothing is written.
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
        else:  # run again, to the same end: the last one
            kept.append(max((record for _, record in there), key=lambda record: record.get("finished") or ""))
    return kept, left_out


def fault(record: Any, name: str) -> str:
    """Why something that was read is no record to believe; empty when it is one."""
    from attnlab.configuration.identity import run_id

    if not isinstance(record, dict) or not record.keys() >= RECORD_KEYS:
        missing = RECORD_KEYS - set(record) if isinstance(record, dict) else RECORD_KEYS
        return f"is not a record: it lacks {', '.join(sorted(missing))}"
    try:
        expected = checksum(record)
    except RecursionError as error:
        return f"is not a record ({error})"
    if record["checksum"] != expected:
        return "was changed after it was written (its checksum differs)"
    if record["id"] != name:
        return f"is the record of {record['id']}"
    try:
        if (science_id := run_id(record["config"])) != name:
            return f"its config is that of run {science_id}: another recipe, model or dataset"
    except (AttnlabError, AttributeError, KeyError, TypeError, ValueError) as error:
        return f"its config is none ({error})"
    return _odd(record)


def _odd(record: Record) -> str:
    """Which value of a record is not what it is taken for; empty when all are."""
    values = dict(record)
    for name in ("metrics", "versions"):
        if not isinstance(record[name], dict):
            return f"is not a record: {name}={reprlib.repr(record[name])}, allowed is a mapping"
        values |= {f"{name}.{key}": item for key, item in record[name].items()}
    code = record.get("code", {})
    if not isinstance(code, dict) or not all(isinstance(files, dict) for files in code.values()):
        return f"is not a record: code={reprlib.repr(code)}, allowed is {{part: {{file: digest}}}}"
    kinds = dict.fromkeys((f"metrics.{key}" for key in record["metrics"]), "a number or null") | KINDS
    for key, kind in kinds.items():
        if not _fits(values.get(key), kind):
            return f"is not a record: {key}={reprlib.repr(values.get(key))}, allowed is {kind}"
    return ""


def _fits(value: Any, kind: str) -> bool:
    if value is None:
        return kind.endswith("null")
    if kind.startswith("a number"):
        return type(value) in (int, float) and abs(value) < MOST  # NaN is not
    return type(value) is (bool if kind.startswith("a boolean") else str)


def records(*output_dirs: str | Path) -> list[Record]:
    """All finished records below some folders, by id; warns of each that is left out, see `gather`."""
    found, left_out = gather(*output_dirs)
    for reason in left_out:
        warnings.warn(reason, stacklevel=2)
    return found


def is_recorded(folder: Path) -> bool:
    """Whether a run's folder holds its record, one to believe."""
    try:
        record = read_record(folder)
    except ConfigError:
        return False
    return record is not None and not fault(record, folder.name)


def find_run(run_id: str, output_dir: str | Path = "outputs", *, key: str = "run") -> Path:
    """The folder of a finished run, by its id or the first letters of it. Raises ConfigError when not just one fits.

    key: under which the user gave it, for the message.
    """
    folders = [path.parent for path in Path(output_dir).glob("*/result.json") if "." not in path.parent.name]
    fitting = sorted(folder for folder in folders if run_id and folder.name.startswith(run_id))
    if len(fitting) != 1:
        known = ", ".join(sorted(folder.name for folder in (fitting or folders))[:8]) or "none yet"
        state = "fits several runs" if fitting else "no such finished run"
        raise ConfigError(f"{key}={run_id}: {state} in output_dir={output_dir}; there are {known}")
    return fitting[0]


def read_config(folder: Path, *, key: str = "run") -> dict[str, Any]:
    """The config.yaml of a run's folder, which may be somebody else's: plain values, no interpolation resolved.

    Raises ConfigError, naming the key under which the user gave the run, when there is none to read, and for one that
    is not the run's: its science has another id.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import AliasToken, YAMLError, scan

    from attnlab.configuration.identity import SECTIONS, run_id

    try:
        # a few lines of them can stand for a value without end
        if any(isinstance(token, AliasToken) for token in scan((folder / "config.yaml").read_text())):
            raise ValueError("it has a YAML alias, which attnlab never writes")
        found = OmegaConf.load(folder / "config.yaml")
        values: Any = OmegaConf.to_container(found, resolve=False)
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
            f"{key}={folder.name}: its config.yaml was edited, it is that of a run {other}; result.json has the config "
            "as it was"
        )
    return values


def load_results(output_dir: str | Path = "outputs") -> "pd.DataFrame":
    """A row a finished run: id, seed, names of dataset, model, attention, head and recipe, metrics, costs, device."""
    import pandas as pd

    from attnlab.configuration.identity import SECTIONS, cell
    from attnlab.configuration.names import name_of

    rows = []
    for record in records(output_dir):
        config = record["config"]
        row = {"id": record["id"], "cell": cell(config), "seed": config["seed"]}
        row |= {section: name_of(section, config[section], config) for section in SECTIONS}
        row |= record["metrics"]
        row |= {name: value for name, value in record.items() if name not in ("id", "config", "metrics", "versions")}
        row["classes"] = config["dataset"]["classes"]
        rows.append(row)
    return pd.DataFrame(rows)
