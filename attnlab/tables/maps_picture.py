"""NAME_maps.png, which attnlab.look draws and attnlab.report shows if it is of exactly the table's runs.

The PNG has a text chunk, `runs`, that lists its runs: JSON [[row, run id, checksum of the record], ...].
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from attnlab.tables.comparison import Comparison

KEY = "runs"


def runs_text(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """The PNG text chunk of a picture of these (row, record) pairs."""
    return {KEY: json.dumps([[label, record["id"], record["checksum"]] for label, record in rows])}


def shown_runs(path: Path) -> dict[str, tuple[str, str]]:
    """{row: (run id, checksum of the record)} of a picture.

    Raises OSError if it cannot be read, and ValueError, KeyError or TypeError if it does not list its runs.
    """
    with Image.open(path) as image:
        return {label: (run, checksum) for label, run, checksum in json.loads(image.info[KEY])}


def maps_of(path: Path, comparison: Comparison) -> tuple[Path | None, list[str]]:
    """(the picture, or None if it must not be shown; warnings about it, a line each)."""
    if not path.exists():
        return None, []
    redraw = f"python -m attnlab.look table={comparison.grid.name} draws it again"
    try:
        rows = shown_runs(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = "cannot be read" if isinstance(error, OSError) else "does not record which runs it shows"
        return None, [f"Maps left out: {path.name} {why}; {redraw}."]
    known = {record["id"]: record["checksum"] for record in comparison.records}
    unknown = [label for label, (run, _) in rows.items() if run not in known]
    retrained = [label for label, (run, checksum) in rows.items() if known.get(run, checksum) != checksum]
    reasons = [f"runs that the table does not have ({', '.join(unknown)})"] * bool(unknown)
    reasons += [f"runs that were trained again since ({', '.join(retrained)})"] * bool(retrained)
    if reasons:
        return None, [f"Maps left out: {path.name} shows {' and '.join(reasons)}; {redraw}."]
    shown = {run for run, _ in rows.values()}
    recorded = {cell.row: {run["id"] for run in comparison.runs(cell).runs} for cell in comparison.grid.cells}
    absent = [row for row, runs in recorded.items() if runs and not runs & shown]
    return path, [f"Maps: {path.name} does not show {', '.join(absent)}; {redraw}."] if absent else []
