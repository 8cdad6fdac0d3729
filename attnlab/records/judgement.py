"""judge.json: the scores of a run by attnlab.judge, beside its record, and those scores as columns of a table."""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attnlab.configuration.groups import choices
from attnlab.records.record import Record, seal, write_json
from attnlab.records.record_check import checksum

FILE = "judge.json"
PREFIX = "judge/"
#: scores of a map, and the maps that have them
MAP_SCORES = {
    "pointing": "pointing game %", "energy": "energy on object %", "average_precision": "average precision %",
    "iou": "IoU %", "iou_otsu": "IoU (Otsu) %", "insertion": "insertion AUC", "deletion": "deletion AUC",
    "road": "ROAD", "sanity": "rank correlation, all layers random",
}  # fmt: skip
MAPS = {
    "mask": "own mask", "gradcam": "Grad-CAM", "hirescam": "HiResCAM", "blind": "mean object",
    "control": "Grad-CAM without attention", "shuffled": "another image's Grad-CAM",
}  # fmt: skip
OTHERS = {
    "still/error_change": "error change, gates held still", "still/changed": "changed, gates held still %",
    "saturated": "masks saturated %", "calibration_error": "calibration error (judged)", "nll": "NLL, nats",
    **{f"{name.lower()}_{e}": f"error %, {name} {e}/255" for name in ("FGSM", "PGD") for e in (2, 4, 8)},
    "background/own": "error % on the class's photograph", "background/other": "error % on another class's photograph",
    "background/worst": "error %, worst group", "corruptions": "error %, 15 corruptions",
    **{f"transfer/{name}": f"error %, features on {name}" for name in choices("dataset")},
}  # fmt: skip
#: {score: its heading}
HEADINGS = {
    f"{name}/{of}": f"{text}, {MAPS[of]}"
    for name, text in MAP_SCORES.items()
    for of in MAPS
    if of in ("mask", "gradcam")
    or (of == "hirescam" and name != "sanity")
    or name in ("pointing", "energy", "average_precision", "iou")
} | OTHERS
METRICS = tuple(PREFIX + name for name in HEADINGS)


def heading(metric: str) -> str:
    """The heading of a table's column `judge/<score>`."""
    return HEADINGS[metric.removeprefix(PREFIX)]


def digits(metric: str) -> int:
    """Decimals of a score in a table: two of a percentage, three of the others."""
    return 2 if "%" in heading(metric) or "error change" in heading(metric) else 3


def add_to_judgement(folder: Path, record: Record, name: str, part: Mapping[str, Any]) -> None:
    """Add a part to FOLDER/judge.json, and keep the parts that other processes have written there meanwhile.

    The file holds the run, the record's checksum, the parts and its own checksum, and is written atomically. A file of
    another record, or one that was edited, is moved aside.
    """
    path = folder / FILE
    with (folder / "judge.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # released when the process ends, in whatever way
        known = _read(path, record)
        if known is None and path.exists():
            aside = path.with_name(f"{FILE}.{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}")
            path.rename(aside)
            print(f"  {folder.name}: its {FILE} was edited, or is of another record; kept as {aside.name}")
        parts = (known or {}).get("parts", {}) | {name: dict(part)}
        write_json(path, seal({"run": record["id"], "record": record["checksum"], "parts": parts}))


def read_judgement(folder: Path, record: Record) -> dict[str, Any] | None:
    """The content of FOLDER/judge.json; None if it is missing or damaged, was edited, or is of another record."""
    return _read(folder / FILE, record)


def _read(path: Path, record: Record) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
        valid = found["checksum"] == checksum(found) and found["record"] == record["checksum"]
        return found if valid and found["run"] == record["id"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def scores(judgement: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{score: its value, se, beside (the value to compare with) and meaning (of that value)} of all parts."""
    return {name: one for part in judgement["parts"].values() for name, one in part["scores"].items()}


def with_judgements(records: Iterable[Record], *folders: str | Path) -> list[Record]:
    """The records, with the scores of their judgements below the folders as metrics called judge/<score>.

    A judgement is OUTPUT_DIR/<id>/judge.json or a tracked <results>/**/judged/<id>.json; one of another record is
    ignored. The key `judged` holds each score in full, with its `part`, the number of images that were requested
    (`asked`), and what the part depends on (`of`, or None).
    """
    tracked = {path.stem: path for folder in folders for path in Path(folder).glob("**/judged/*.json")}
    joined = []
    for record in records:
        run = record["id"]
        paths = [Path(folder) / run / FILE for folder in folders] + ([tracked[run]] if run in tracked else [])
        found = next((one for path in paths if (one := _read(path, record)) is not None), None)
        judged = {
            PREFIX + score: one | {"part": name, "asked": part["settings"].get("asked"), "of": part.get("of")}
            for name, part in (found or {"parts": {}})["parts"].items()
            for score, one in part["scores"].items()
        }
        values = {metric: one["value"] for metric, one in judged.items()}
        joined.append(record | {"metrics": record["metrics"] | values, "judged": judged})
    return joined
