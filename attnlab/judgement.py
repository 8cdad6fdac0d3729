"""judge.json: what a run was judged to be, beside its record and never in it; and its scores as columns of a table."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attnlab.compose import choices
from attnlab.results import Record, checksum, seal, write_json

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


def write_judgement(folder: Path, record: Record, parts: Mapping[str, Any]) -> None:
    """Write FOLDER/judge.json whole or not at all: the run, the record's checksum, the parts, a checksum of its own."""
    write_json(folder / FILE, seal({"run": record["id"], "record": record["checksum"], "parts": dict(parts)}))


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
    """
    tracked = {path.stem: path for folder in folders for path in Path(folder).glob("**/judged/*.json")}
    joined = []
    for record in records:
        name = record["id"]
        paths = [Path(folder) / name / FILE for folder in folders] + ([tracked[name]] if name in tracked else [])
        found = next((one for path in paths if (one := _read(path, record)) is not None), None)
        judged = {PREFIX + score: one for score, one in scores(found).items()} if found else {}
        values = {metric: one["value"] for metric, one in judged.items()}
        joined.append(record | {"metrics": record["metrics"] | values, "judged": judged})
    return joined
