"""judge.json: what a run was judged to be, beside its record and never in it; and its scores as columns of a table."""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attnlab.configuration.groups import choices
from attnlab.records.record import Record, checksum, seal, write_json

FILE = "judge.json"
PREFIX = "judge/"
#: scores of a map, and the maps they may be of
OF_MAPS = {
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
    for name, text in OF_MAPS.items()
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
    """Write a part into FOLDER/judge.json, beside what other judges have written there meanwhile.

    The file is written whole or not at all: the run, the record's checksum, the parts, a checksum of its own. One that
    is of another record, or was edited, is put aside.
    """
    path = folder / FILE
    with (folder / "judge.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # ends with the process, however it ends
        known = _read(path, record)
        if known is None and path.exists():
            aside = path.with_name(f"{FILE}.{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}")
            path.rename(aside)
            print(f"  {folder.name}: its {FILE} was edited, or is of another record; it is kept as {aside.name}")
        parts = (known or {}).get("parts", {}) | {name: dict(part)}
        write_json(path, seal({"run": record["id"], "record": record["checksum"], "parts": parts}))


def read_judgement(folder: Path, record: Record) -> dict[str, Any] | None:
    """What FOLDER/judge.json says of the recorded run; None when it says nothing, or is of another record of it."""
    return _read(folder / FILE, record)


def _read(path: Path, record: Record) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
        believed = found["checksum"] == checksum(found) and found["record"] == record["checksum"]
        return found if believed and found["run"] == record["id"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def scores(judgement: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{score: value, beside, meaning, se} of all parts."""
    return {name: one for part in judgement["parts"].values() for name, one in part["scores"].items()}


def with_judgements(records: Iterable[Record], *folders: str | Path) -> list[Record]:
    """The records; where a judgement lies below folders, its scores are metrics, judge/<score>, and whole in `judged`.

    OUTPUT_DIR/<id>/judge.json, or a tracked <results>/**/judged/<id>.json. What is not of that very record is left out.
    In `judged` each score has its `part`, how many images were `asked` for, and what the part hangs on, `of`, or None.
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
