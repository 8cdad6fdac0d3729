"""What every tracker is told about a run: id, name, group, tags, and the config with the plain names of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnlab.configuration.identity import SECTIONS, cell
from attnlab.configuration.names import name_of
from attnlab.records.wandb_import import RUN_KEY

MAX_NAME, MAX_GROUP, MAX_TAG = 120, 110, 64  # characters; W&B refuses longer ones


@dataclass(frozen=True)
class TrackedRun:
    """A run as a tracker shows it.

    id: attnlab's;  settings: the config's section `tracker`;  config: what a record keeps of the config (no paths),
    with `run`, attnlab's id, and `names`, {section: plain name}, by which panels group;  folder: for its files.
    """

    id: str
    settings: Mapping[str, Any]
    name: str
    group: str
    tags: list[str]
    config: Mapping[str, Any]
    folder: Path


def tracked_run(values: Mapping[str, Any], run: str, config: Mapping[str, Any], folder: Path) -> TrackedRun:
    """values: the run's config;  run: its id;  config: what a record keeps of it.

    The name tells attention, model, dataset and seed, and the group tells all but the seed; `tracker.name` and
    `tracker.group` set others.
    """
    settings = values["tracker"]
    names = {section: name_of(section, values[section], values) for section in SECTIONS}
    plain = {section: plain_name(name) for section, name in names.items()}
    name = f"{names['attention']} {plain['model']} {plain['dataset']} seed={values['seed']}"
    group = " ".join(names[section] for section in ("dataset", "model", "attention", "recipe"))[:MAX_GROUP]
    tags = [f"{section}={names[section]}"[:MAX_TAG] for section in ("dataset", "model", "attention")]
    tags += [f"table={values['table']}"[:MAX_TAG]] if values.get("table") else []
    return TrackedRun(
        run, settings, str(settings.get("name") or name)[:MAX_NAME], settings.get("group") or f"{group} {cell(values)}",
        [*tags, *map(str, settings.get("tags") or [])], {**config, RUN_KEY: run, "names": plain}, folder,
    )  # fmt: skip


def plain_name(name: str) -> str:
    """The choice of a group without the numbers that differ from it: `se reduction=8 mask=reciprocal` -> `se
    mask=reciprocal`."""
    choice, *differs = name.split()
    return " ".join([choice, *(part for part in differs if part.startswith("mask="))])
