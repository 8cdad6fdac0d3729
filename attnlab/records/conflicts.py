"""Several records of one run: how they differ, and `source=DIR`, which chooses a folder."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.errors import ConfigError


def conflict(name: str, there: Sequence[tuple[Path, Mapping[str, Any]]], way: str = "") -> str:
    """How the records of one run differ in their results, and the way on; empty where they agree.

    there: where each was read, and the record;  way: the way on, where it is not the choice of a folder.
    """
    metrics = {key for _, record in there for key in record["metrics"]}
    for key in sorted(metrics, key=lambda key: (key != "test/top1_error", key)):
        values = [record["metrics"].get(key) for _, record in there]
        if not all(_alike(value, values[0]) for value in values):
            files = " and ".join(f"{path} ({key} {value})" for (path, _), value in zip(there, values, strict=True))
            ways = way or " or ".join(dict.fromkeys(f"source={path.parent.parent}" for path, _ in there))
            return f"{files}: are records of one run, {name}, that differ; neither is used until {ways} chooses"
    return ""


def _alike(value: Any, other: Any) -> bool:
    """Whether two numbers are one to the digits that tables print, as of a run repeated on another machine."""
    if isinstance(value, int | float) and isinstance(other, int | float):
        return math.isclose(value, other, rel_tol=1e-4, abs_tol=1e-4)
    return value == other


def folder_named(arguments: Sequence[str]) -> Path | None:
    """The folder of source=DIR, from whose records alone a report is made; None without one, and for source=wandb:...

    Raises ConfigError where there is no such folder.
    """
    source = next((a.partition("=")[2] for a in arguments if a.startswith("source=")), "")
    if not source or source.startswith("wandb:"):
        return None
    if not Path(source).is_dir():
        raise ConfigError(f"source={source}: allowed is wandb:ENTITY/PROJECT, or a folder that is there, of records")
    return Path(source)
