"""The house style of figures, and axis limits that an outlier does not stretch."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

INK, GREY, BLUE, LINE, BAND = "#1a1a1a", "#8a8a8a", "#2a6fb0", "#e3e3e3", "#eef3f8"
#: the colours of a figure in an HTML page -> the variables of page.css, which differ between light and dark
CSS = {INK: "var(--ink)", GREY: "var(--grey)", BLUE: "var(--blue)", LINE: "var(--line)", BAND: "var(--hover)"}
STYLE: Any = {
    "font.size": 10,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "ytick.left": False,
    "grid.color": LINE,
    "figure.dpi": 150,
    "savefig.bbox": "tight",
    "text.parse_math": False,  # names may contain a $
}
#: a value further from the median than so many times the median distance from it is an outlier
FENCE = 8.0
#: of fewer values none is an outlier; if more than this share of them are far off, none is
LEAST, SHARE = 4, 0.2


def limits(values: Sequence[float], reach: Sequence[float] | None = None) -> tuple[float, float]:
    """Limits of an axis: all values but outliers, with their error bars, which are cut at three times the median one.

    reach: half the length of each value's error bar.
    """
    reach = [0.0] * len(values) if reach is None else reach
    kept = _inliers(values, reach)
    longest = 3 * float(np.median(reach)) or max(reach)
    bars = [(value, min(half, longest)) for value, half, keep in zip(values, reach, kept, strict=True) if keep]
    low, high = min(value - half for value, half in bars), max(value + half for value, half in bars)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _inliers(values: Sequence[float], reach: Sequence[float]) -> list[bool]:
    """Whether each value is near enough to the others to be shown at its place."""
    if len(values) < LEAST:
        return [True] * len(values)
    middle = float(np.median(values))
    distances = [abs(value - middle) for value in values]
    far = FENCE * max(float(np.median(distances)), float(np.median(reach)) / 2)
    near = [distance <= far for distance in distances]
    return near if far and near.count(False) <= max(1, SHARE * len(values)) else [True] * len(values)


def beside(values: Sequence[float]) -> list[float]:
    """The values, moved as little as possible (least squares) so that neighbours stand 1.2 % of their span apart.

    So each point of a figure can be seen, and their order stays.
    """
    gap = 0.012 * ((max(values) - min(values)) or abs(max(values)) * 0.2 or 1.0)
    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(values))
    moved = np.empty(len(values))
    moved[order] = isotonic_regression(np.asarray(values, dtype=float)[order] - steps).x + steps
    return moved.tolist()


def palette(names: Sequence[str]) -> dict[str, Any]:
    """A colour for each name."""
    colours = plt.get_cmap("tab10" if len(names) <= 10 else "turbo")
    return {name: colours(i if len(names) <= 10 else i / (len(names) - 1)) for i, name in enumerate(names)}


def legend(figure: Figure, axes: Iterable[plt.Axes], order: Sequence[str]) -> None:
    """One legend for all axes, to the right of them, with its labels in this order."""
    named: dict[str, Artist] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        named |= {str(label): handle for label, handle in zip(labels, handles, strict=True)}
    figure.tight_layout()
    labels = [label for label in order if label in named]
    figure.legend([named[label] for label in labels], labels, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
