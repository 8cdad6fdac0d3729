"""The folder from which a run read its images, remembered beside the run for look, judge and evaluate on this machine.

It is in a file of its own: a record and config.yaml hold no paths, since they are shared with other machines.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from attnlab.records.record import write_json

FILE = "image_folder.json"


def remember(folder: Path, dataset: Mapping[str, Any]) -> None:
    """Write the image folder of a config's dataset, as an absolute path, into a run's folder; nothing without one."""
    if isinstance(root := dataset.get("root"), str):
        write_json(folder / FILE, {"root": str(Path(root).expanduser().resolve())})


def remembered_root(folder: Path) -> str | None:
    """The image folder that a run has remembered, if it is still there."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        root = json.loads((folder / FILE).read_text())["root"]
        if isinstance(root, str) and Path(root).is_dir():
            return root
    return None


def remembered(folder: Path, given: Sequence[str]) -> tuple[str, ...]:
    """The overrides `given` and, if they do not have it, dataset.root as the run had it, if the folder is there."""
    root = remembered_root(folder)
    if root is None or any(override.startswith("dataset.root=") for override in given):
        return tuple(given)
    return (*given, f"dataset.root={QuotedString(root, Quote.single).with_quotes()}")
