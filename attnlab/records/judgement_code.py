"""What a part of a judgement depends on, kept with it as `of`, and whether the part is still valid.

{"data_hash", "masks", "precision", "code": {file: digest}, "net": a digest, "control": the checksum of its record,
"transfer": {"dataset": its science, "data_hash"}}; beside it settings.asked, the requested number of images. Parts of
an older attnlab have no `of`: judged by unknown code. This module imports no torch.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from attnlab.configuration.digest import digest
from attnlab.records.record import Record
from attnlab.records.source_code import closure, differences, digests

#: modules that turn a net and its images into a score; imports are followed among these only. The net's code is `net`.
JUDGE_MODULES = (
    "attnlab.evaluation.metrics",
    "attnlab.evaluation.suite_errors",
    "attnlab.evaluation.suite_maps",
    "attnlab.evaluation.maps",
    "attnlab.evaluation.score",
    "attnlab.evaluation.finished_run",
    "attnlab.evaluation.mask_recorder",
    "attnlab.data.subset",
    "attnlab.data.batches",
    "attnlab.data.cluttered_digits_images",
)
#: the parts that use the masks of objects, and maps; they are judged by evaluation/suite_maps.py, the others by
#: evaluation/suite_errors.py (a test compares this with evaluation/suite.py, which is above this room)
MAP_PARTS = ("localisation", "faithfulness", "sanity")
#: names of the keys of `of`, for messages
WORDS = {
    "data_hash": "the images", "masks": "the objects' masks", "precision": "the precision", "net": "the net's code",
    "control": "the run without attention", "transfer": "the transfer set",
}  # fmt: skip


def code_of(part: str) -> dict[str, str]:
    """{file: digest} of today's code that judges a part."""
    return closure(
        ["attnlab.evaluation.suite_maps" if part in MAP_PARTS else "attnlab.evaluation.suite_errors"], JUDGE_MODULES
    )


def net_code(record: Record) -> tuple[str, str | None]:
    """Digests of the code of a run's net: (today's, the one that trained it or None if the record has none)."""
    return digest(_of_net(digests(record["config"]))), digest(_of_net(record["code"])) if record.get("code") else None


def _of_net(code: Mapping[str, Any]) -> dict[str, Any]:
    return {part: code.get(part) for part in ("model", "attention", "mask", "head")}


def masks_digest(data: Any) -> str | None:
    """16 hexadecimal digits of the object masks that a run's data module has; None without masks."""
    found = hashlib.sha256()
    known = [getattr(getattr(data, split, None), "masks", None) for split in ("train", "val", "test")]
    for masks in known:
        found.update(b"none" if masks is None else str(tuple(masks.shape)).encode() + masks.cpu().numpy().tobytes())
    return None if all(masks is None for masks in known) else found.hexdigest()[:16]


def facts(
    part: str, record: Record, data: Any, precision: str, control: Record | None, transfer: Any
) -> dict[str, Any]:
    """What a part depends on today. control: record of the same run without attention;  transfer: (science, data)."""
    of = {"data_hash": data.data_hash, "precision": precision, "code": code_of(part), "net": net_code(record)[0]}
    if part in MAP_PARTS:
        of["masks"] = masks_digest(data)
    if part == "localisation":
        of["control"] = control and control["checksum"]
    if transfer:
        of["transfer"] = {"dataset": transfer[0], "data_hash": transfer[1].data_hash}
    return of


def why_anew(part: Mapping[str, Any] | None, today: Mapping[str, Any], images: int, record: Record) -> str | None:
    """Why a part must be judged again; "" if it was never judged; None if it is still valid."""
    if part is None:
        return ""
    if (asked := part["settings"].get("asked")) != images:
        return f"it used {asked} images"
    of = part.get("of")
    if of is None:
        return None
    if files := differences({"": of["code"]}, {"": today["code"]}):
        return f"{', '.join(files)} changed"
    trained_by = net_code(record)[1]
    for key, words in WORDS.items():
        if key == "control" and today.get(key) is None:
            continue  # the control run was deleted since; the score was right when made
        if key == "net" and of["net"] == trained_by:
            continue  # it was judged by the code that trained it; only today's code differs
        if of.get(key) != today.get(key):
            return f"{words} changed"
    return None
