"""Several records of one run that differ, and `source=DIR`, which chooses one folder of records."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.errors import ConfigError


def conflict(name: str, found: Sequence[tuple[Path, Mapping[str, Any]]], way: str = "") -> str:
    """A line on how the records of one run differ in their results, and what to do; empty if they agree.

    found: (where it was read, the record) of each;  way: what to do, if not choosing a folder.
    """
    metrics = {key for _, record in found for key in record["metrics"]}
    for key in sorted(metrics, key=lambda key: (key != "test/top1_error", key)):
        values = [record["metrics"].get(key) for _, record in found]
        if not all(_alike(value, values[0]) for value in values):
            files = " and ".join(f"{path} ({key} {value})" for (path, _), value in zip(found, values, strict=True))
            ways = way or " or ".join(dict.fromkeys(f"source={path.parent.parent}" for path, _ in found))
            return f"{files}: are records of one run, {name}, that differ; neither is used until {ways} chooses"
    return ""


def _alike(value: Any, other: Any) -> bool:
    """Whether two numbers agree to the digits that tables print, as those of a run repeated on another machine do."""
    if isinstance(value, int | float) and isinstance(other, int | float):
        return math.isclose(value, other, rel_tol=1e-4, abs_tol=1e-4)
    return value == other


def folder_named(arguments: Sequence[str]) -> Path | None:
    """The folder of source=DIR, whose records are the only ones that a report uses; None without it, and for wandb:...

    Raises ConfigError if the folder does not exist.
    """
    source = next((a.partition("=")[2] for a in arguments if a.startswith("source=")), "")
    if not source or source.startswith("wandb:"):
        return None
    if not Path(source).is_dir():
        raise ConfigError(f"source={source}: no such folder; allowed is a folder of records, or wandb:ENTITY/PROJECT")
    return Path(source)
