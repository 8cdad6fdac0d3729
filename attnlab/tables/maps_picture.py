"""NAME_maps.png of attnlab.look in the page of attnlab.report: only where it is of the very runs of the table.

The picture says which: a PNG text, `runs`, JSON [[row, run id, the record's checksum], ...].
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from attnlab.tables.comparison import Comparison

KEY = "runs"


def runs_text(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """The PNG text of a picture of (row, record)."""
    return {KEY: json.dumps([[label, record["id"], record["checksum"]] for label, record in rows])}


def maps_of(path: Path, comparison: Comparison) -> tuple[Path | None, list[str]]:
    """(the picture, when it is one of the table; what a reader must know of it, a line each)."""
    if not path.exists():
        return None, []
    anew = f"python -m attnlab.look table={comparison.grid.name} draws it anew"
    try:
        with Image.open(path) as image:
            rows = {label: (run, checksum) for label, run, checksum in json.loads(image.info[KEY])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = "cannot be read" if isinstance(error, OSError) else "does not say which runs it is of"
        return None, [f"Maps left out: {path.name} {why}; {anew}."]
    known = {record["id"]: record["checksum"] for record in comparison.records}
    strange = [label for label, (run, _) in rows.items() if run not in known]
    retrained = [label for label, (run, checksum) in rows.items() if known.get(run, checksum) != checksum]
    reasons = [f"runs that the table does not have ({', '.join(strange)})"] * bool(strange)
    reasons += [f"runs that were trained anew since ({', '.join(retrained)})"] * bool(retrained)
    if reasons:
        return None, [f"Maps left out: {path.name} shows {' and '.join(reasons)}; {anew}."]
    shown = {run for run, _ in rows.values()}
    recorded = {cell.row: {run["id"] for run in comparison.runs(cell).runs} for cell in comparison.grid.cells}
    absent = [row for row, runs in recorded.items() if runs and not runs & shown]
    return path, [f"Maps: {path.name} does not show {', '.join(absent)}; {anew}."] if absent else []
