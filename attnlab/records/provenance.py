"""What made a run (code, checkout, device, start weights), and whether its record is still valid for its config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from attnlab.configuration.digest import digest
from attnlab.configuration.image_tree import is_in_the_id
from attnlab.records.record import Record, read_record
from attnlab.records.source_code import Code, changed_since, digests, is_here, own_packages

#: what is recorded about a stretch of training: from a start to the end, or to an interruption
OF_A_STRETCH = ("commit", "dirty", "device", "precision", "threads", "world_size", "versions")


@dataclass(frozen=True)
class MadeBy:
    """The code that makes a run, as it was when the run began.

    code: its digests (attnlab.records.source_code);  commit, dirty: of the checkout (attnlab.machine.versions).
    """

    code: Code
    commit: str | None
    dirty: bool | None


def read_made_by(values: Mapping[str, Any]) -> MadeBy:
    """The code that would make a run in this process, and the checkout as it was when that code was first read.

    A job of a sweep inherits what its launcher read before: it runs that code, even if a commit changed it since.
    """
    code = digests(values)
    return MadeBy(code, *_checkout(digest(code), tuple(own_packages(values))))


@cache
def _checkout(code: str, own: tuple[Path, ...]) -> tuple[str | None, bool | None]:
    from attnlab.machine import versions

    return versions.commit(own)


def stretch(made_by: MadeBy, machine: Mapping[str, Any]) -> dict[str, Any]:
    """The values of OF_A_STRETCH for a start of a run in this process."""
    import torch

    from attnlab.machine import hardware, versions

    kind = hardware.accelerator(machine)
    return {
        "commit": made_by.commit,
        "dirty": made_by.dirty,
        "device": hardware.device_name(torch.device("cuda" if kind == "gpu" else kind)),
        "precision": hardware.precision(machine),
        "threads": torch.get_num_threads(),
        "world_size": hardware.rank_count(machine),
        "versions": versions.installed(),
    }


def doubts(record: Record, output_dir: str | Path) -> list[str]:
    """Why a record may differ from what its config gives today, a phrase each: changed code, a parent trained again."""
    found = [f"{file} {'changed since' if is_here(file) else 'is not found here'}" for file in changed_since(record)]
    start = record.get("started_from")
    if start:
        parent = read_record(Path(output_dir) / start["id"]) or {}
        if parent.get("weights", start["weights"]) != start["weights"]:
            found.append(f"start_from={start['id']} has other weights now")
    return found


def doubts_and_remedies(found: Sequence[str]) -> str:
    """A message: why a record is not used, and the two ways to go on."""
    return f"recorded, but {', '.join(found)}; force=true trains anew, code=recorded accepts the record as it is"


def recorded_line(values: Mapping[str, Any]) -> str:
    """A message about a config that has a record and is not run again: its images may have changed since."""
    looked = "" if is_in_the_id(values["dataset"]) else "; its images were not looked at"
    return f"found recorded, not run again (force=true would){looked}"


def append_stretch(before: Sequence[Mapping[str, Any]], stretch: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The stretches of a resumed run. A stretch with the values of the last one continues it."""
    known = [dict(one) for one in before]
    same = known and all(known[-1].get(name) == stretch.get(name) for name in OF_A_STRETCH)
    return known if same else [*known, dict(stretch)]


def changed_settings(stretches: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of OF_A_STRETCH in which the stretches of a run differ."""
    return [name for name in OF_A_STRETCH if any(one.get(name) != stretches[0].get(name) for one in stretches)]
