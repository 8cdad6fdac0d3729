"""Whether something that was read is a valid record: its keys, checksum, id and the types of its values."""

import reprlib
from collections.abc import Mapping
from typing import Any

from attnlab.configuration.digest import digest
from attnlab.configuration.identity import run_id
from attnlab.errors import AttnlabError

#: the keys that every table needs
RECORD_KEYS = {
    "checksum", "id", "config", "metrics", "params", "data_hash", "device", "precision", "world_size", "versions",
    "seconds", "commit", "dirty",
}  # fmt: skip
#: the types of a record's values; all other metrics are numbers or null
KINDS = {
    "metrics.test/top1_error": "a number", "versions.torch": "a text",
    "params": "a number", "macs": "a number or null", "seconds": "a number", "images_per_second": "a number or null",
    "peak_memory": "a number or null", "world_size": "a number", "data_hash": "a text", "device": "a text",
    "precision": "a text", "commit": "a text or null", "dirty": "a boolean or null", "finished": "a text or null",
    "predictions": "a text or null",
}  # fmt: skip
#: larger metrics are rejected, since squaring them would overflow
MAX_ABS = 1e100


def checksum(record: Mapping[str, Any]) -> str:
    """The digest of everything in a record except its checksum."""
    return digest({name: item for name, item in record.items() if name != "checksum"})


def fault(record: Any, name: str) -> str:
    """Why something that was read as a record is not a valid one; empty if it is. name: the run id of its file."""
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
        return f"its config is not valid ({error})"
    return _wrong_value(record)


def _wrong_value(record: Mapping[str, Any]) -> str:
    """Which value of a record has the wrong type; empty if none has."""
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
        return type(value) in (int, float) and abs(value) < MAX_ABS  # False for NaN
    return type(value) is (bool if kind.startswith("a boolean") else str)
