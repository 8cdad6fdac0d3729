"""Print a judgement as tables in the terminal."""

from collections.abc import Mapping
from typing import Any

from attnlab.evaluation.gate_names import short_name
from attnlab.records.judgement import scores
from attnlab.tables.page import Section
from attnlab.tables.terminal import print_line, print_section

#: key of a gate in the part `health` -> its heading, those that answer first
GATE_COLUMNS = {
    "error_change": "error change", "changed": "changed %", "mean": "mean", "sd": "sd", "sd_images": "sd over images",
    "saturated": "saturated", "class_share": "class share", "entropy": "entropy",
}  # fmt: skip


def show(judgement: Mapping[str, Any], title: str = "") -> None:
    """Print each score beside its reference value, one line per gate, and the maps that fail the sanity check.

    title: of the run; its id if there is none.
    """
    parts = judgement["parts"]
    print_section(_score_table(judgement, title or f"run {judgement['run']}"), words=("which is",))
    details = parts.get("localisation", {}).get("details", {})
    if (of := details.get("of", 0)) > (images := details.get("images", 0)):
        print_line(
            f"localisation: on {images} of {of} images; the others have no mask with an object, or chose the gate"
        )
    if gates := parts.get("health", {}).get("details", {}).get("gates", {}):
        print_section(_gate_table(gates), words=("verdict",))
    for name in parts.get("sanity", {}).get("details", {}).get("survived", ()):
        print_line(f"sanity check failed: the map of {name} hardly changes when all layers are randomised")


def _score_table(judgement: Mapping[str, Any], title: str) -> Section:
    rows = [
        [name, *(_number(one[key]) for key in ("value", "se", "beside")), one["meaning"]]
        for name, one in scores(judgement).items()
    ]
    return Section(title, ["score", "value", "± se", "beside", "which is"], rows)


def _gate_table(gates: Mapping[str, Mapping[str, Any]]) -> Section:
    rows = [
        [short_name(name), gates[name]["verdict"], *(_number(gates[name].get(key)) for key in GATE_COLUMNS)]
        for name in sorted(gates, key=lambda name: name == "all")  # `all`: every gate held still at once; last line
    ]
    title = "gates: their masks, and the test with each mask held still at its mean"
    return Section(title, ["gate", "verdict", *GATE_COLUMNS.values()], rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"
