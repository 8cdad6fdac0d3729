"""Print a judgement as tables in the terminal."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnlab.evaluation.gate_names import short_name
from attnlab.records.judgement import scores

#: key of a gate in the part `health` -> its heading
GATE_COLUMNS = {
    "mean": "mean", "sd": "sd", "sd_images": "sd over images", "entropy": "entropy", "saturated": "saturated",
    "class_share": "class share", "changed": "changed %", "error_change": "error change",
}  # fmt: skip


def show(judgement: Mapping[str, Any], title: str = "") -> None:
    """Print each score beside its reference value, one line per gate, and the maps that fail the sanity check.

    title: of the run; its id if there is none.
    """
    console = Console(width=None if sys.stdout.isatty() else 120)
    parts = judgement["parts"]
    console.print(_score_table(judgement, title or f"run {judgement['run']}"))
    details = parts.get("localisation", {}).get("details", {})
    if (of := details.get("of", 0)) > (images := details.get("images", 0)):
        text = f"localisation: on {images} of {of} images; the others have no mask with an object, or chose the gate"
        console.print(Text(text))
    if gates := parts.get("health", {}).get("details", {}).get("gates", {}):
        console.print(_gate_table(gates))
    for name in parts.get("sanity", {}).get("details", {}).get("survived", ()):
        console.print(Text(f"sanity check failed: the map of {name} hardly changes when all layers are randomised"))


def _score_table(judgement: Mapping[str, Any], title: str) -> Table:
    drawn = Table(title=Text(title), title_justify="left")
    for name in ("score", "value", "± se", "beside", "which is"):
        drawn.add_column(name, justify="left" if name in ("score", "which is") else "right")
    for name, one in scores(judgement).items():
        numbers = [_number(one[key]) for key in ("value", "se", "beside")]
        drawn.add_row(Text(name), *numbers, Text(one["meaning"]))
    return drawn


def _gate_table(gates: Mapping[str, Mapping[str, Any]]) -> Table:
    title = "gates: their masks, and the test with each mask held still at its mean"
    drawn = Table(title=title, title_justify="left")
    drawn.add_column("gate", no_wrap=True)
    for text in GATE_COLUMNS.values():
        drawn.add_column(text, justify="right")
    drawn.add_column("verdict", no_wrap=True)
    for name in sorted(gates, key=lambda name: name == "all"):  # `all`: every gate held still at once; last line
        numbers = [_number(gates[name].get(key)) for key in GATE_COLUMNS]
        drawn.add_row(Text(short_name(name)), *numbers, gates[name]["verdict"])
    return drawn


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"
