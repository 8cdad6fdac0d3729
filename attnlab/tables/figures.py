"""A table's figures: differences from the baseline, error against cost, curves; written, or put into an HTML page."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from attnlab.tables.comparison import Comparison
from attnlab.tables.cost_figure import cost_figure
from attnlab.tables.curve_figure import curve_figure, number_figure
from attnlab.tables.difference_figure import difference_figure
from attnlab.tables.style import CSS, STYLE, plt

#: the house style; SVG text stays text, and the same figure gives the same bytes
HOUSE: Any = STYLE | {"svg.hashsalt": "attnlab", "svg.fonttype": "none"}
#: how far a figure shrinks on a phone: one up to so many pt wide fits it, a wider one scrolls and stays legible
NARROW, SHRUNK, SHRUNK_WIDE = 580.0, 0.48, 0.75
#: {name of a figure: what it shows}
NAMES = {
    "differences": "Differences from the baseline", "numbers": "Error over the number that varies",
    "costs": "Error against cost; points of nearly equal cost stand side by side",
    "curves": "Validation error by epoch",
}  # fmt: skip


def figures(comparison: Comparison, output_dir: Path) -> dict[str, Figure]:
    """{name: figure} of the figures that the records allow; curves need the runs' log.csv in output_dir."""
    with plt.rc_context(HOUSE):
        drawn = {
            "differences": difference_figure(comparison),
            "numbers": number_figure(comparison),
            "costs": cost_figure(comparison),
            "curves": curve_figure(comparison, output_dir),
        }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def documents(drawn: Mapping[str, Figure]) -> dict[str, str]:
    """{name: figure as an SVG document}; the same text for the same numbers."""
    found = {}
    with plt.rc_context(HOUSE):
        for name, figure in drawn.items():
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata={"Date": None})
            found[name] = text.getvalue()
    return found


def write(drawn: Mapping[str, Figure], svgs: Mapping[str, str], stem: Path) -> list[Path]:
    """Write STEM_<name>.png and .svg, the same bytes for the same numbers. svgs: of `documents`."""
    paths = []
    with plt.rc_context(HOUSE):
        for name, figure in drawn.items():
            png, svg = (stem.with_name(f"{stem.name}_{name}.{suffix}") for suffix in ("png", "svg"))
            figure.savefig(png, metadata={"Software": None})
            svg.write_text(svgs[name])
            paths += [png, svg]
    return paths


def elements(svgs: Mapping[str, str]) -> list[str]:
    """Each figure with a caption for an HTML page, in the colours of the page, light or dark."""
    return [f"{element(document)}<figcaption>{NAMES[name]}</figcaption>" for name, document in svgs.items()]


def element(document: str) -> str:
    """An SVG document as an <svg> element on no background."""
    text = document[document.index("<svg") :].replace("fill: #ffffff", "fill: none")
    if found := re.match(r'<svg[^>]* width="([\d.]+)pt"', text):
        width = float(found[1])
        least = width * (SHRUNK if width <= NARROW else SHRUNK_WIDE)
        text = text.replace("<svg", f'<svg style="min-width:{least:.0f}pt"', 1)
    for colour, variable in CSS.items():
        text = text.replace(colour, variable)
    return text


def close(drawn: Mapping[str, Figure]) -> None:
    """Free the figures' memory."""
    for figure in drawn.values():
        plt.close(figure)
