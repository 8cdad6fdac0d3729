"""The rows of log.csv: one for each epoch of a run, epochs counted from 0."""

import csv
from pathlib import Path

COLUMNS = (
    "epoch", "step", "lr", "train/loss", "train/top1_error", "val/loss", "val/top1_error", "val/top5_error",
    "val/calibration_error", "images_per_second", "seconds",
)  # fmt: skip


def read_rows(path: Path, epochs: int | None = None) -> list[dict[str, str]]:
    """The rows of the first `epochs` epochs, None: of all; of a damaged file, the complete rows."""
    rows: dict[int, dict[str, str]] = {}
    try:
        text = path.read_text(errors="replace").replace("\0", "")
    except FileNotFoundError:
        return []
    for row in csv.DictReader(text.splitlines()):
        epoch = row.get("epoch") or ""
        if (
            set(row) == set(COLUMNS)
            and row["seconds"]
            and epoch.isdecimal()
            and (epochs is None or int(epoch) < epochs)
        ):
            rows.setdefault(int(epoch), row)
    return [rows[epoch] for epoch in sorted(rows)]
