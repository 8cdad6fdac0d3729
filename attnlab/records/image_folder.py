"""The folder from which a run read its images, remembered beside the run for `look` and `judge` on this machine.

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


def remembered(folder: Path, given: Sequence[str]) -> tuple[str, ...]:
    """The overrides `given` and, if they do not have it, dataset.root as the run had it.

    A folder that is no longer there is left out.
    """
    root = None
    with suppress(OSError, ValueError, KeyError, TypeError):
        root = json.loads((folder / FILE).read_text())["root"]
    known = any(override.startswith("dataset.root=") for override in given)
    if known or not isinstance(root, str) or not Path(root).is_dir():
        return tuple(given)
    return (*given, f"dataset.root={QuotedString(root, Quote.single).with_quotes()}")
