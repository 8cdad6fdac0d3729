"""A table's figures: differences from the baseline, error against cost, curves; written, or put into an HTML page."""

import io
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
#: {name of a figure: what it shows}
NAMES = {
    "differences": "Differences from the baseline", "numbers": "Error over the number that varies",
    "costs": "Error against cost", "curves": "Validation error by epoch",
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


def write(drawn: Mapping[str, Figure], stem: Path) -> list[Path]:
    """Write STEM_<name>.png and .svg, the same bytes for the same numbers."""
    paths = []
    with plt.rc_context(HOUSE):
        for name, figure in drawn.items():
            for suffix in ("png", "svg"):
                path = stem.with_name(f"{stem.name}_{name}.{suffix}")
                figure.savefig(path, metadata={"Date": None} if suffix == "svg" else {"Software": None})
                paths.append(path)
    return paths


def svg(figure: Figure) -> str:
    """A figure as an <svg> element for an HTML page, on no background and in the colours of the page, light or dark."""
    text = io.StringIO()
    with plt.rc_context(HOUSE):
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    document = text.getvalue()
    element = document[document.index("<svg") :]
    for colour, variable in CSS.items():
        element = element.replace(colour, variable)
    return element


def elements(drawn: Mapping[str, Figure]) -> list[str]:
    """Each figure for an HTML page, with a caption."""
    return [f"{svg(figure)}<figcaption>{NAMES[name]}</figcaption>" for name, figure in drawn.items()]


def close(drawn: Mapping[str, Figure]) -> None:
    """Free the figures' memory."""
    for figure in drawn.values():
        plt.close(figure)
