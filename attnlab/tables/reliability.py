"""Reliability diagrams (Guo et al. 2017, arXiv 1706.04599, figure 1): does accuracy equal confidence?"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.records.predictions import BINS, Predictions
from attnlab.tables.over_images import Bin, bins, calibration_error, wilson
from attnlab.tables.style import BLUE, GREY, INK, STYLE, plt

ACROSS = 4  # panels
EDGES = np.linspace(0, 100, BINS + 1)


def reliability(panels: Mapping[str, Sequence[Predictions]], path: Path) -> None:
    """Draw a panel for each title: accuracy against confidence in 15 equally wide bins, with the images a bin below.

    One run: dots with Wilson's 95 % interval over images. Several seeds: a thin grey line each, pooled in blue.
    """
    across = min(ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(2.9 * across + 0.5, 3.9 * down), layout="constrained")
        cells = figure.subfigures(down, across, squeeze=False)
        for cell, (title, runs) in zip(cells.flat, panels.items(), strict=False):
            _panel(cell, title, runs)
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)


def _panel(cell: Any, title: str, runs: Sequence[Predictions]) -> None:
    upper, lower = cell.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 100], [0, 100], color=GREY, lw=0.9, ls=(0, (3, 3)), zorder=1)
    found = [bins(run, BINS) for run in runs]
    for one in found if len(runs) > 1 else []:
        there = [item for item in one if item]
        upper.plot(*_points(there), color=GREY, lw=0.7, alpha=0.8, zorder=2)
    pooled = [item for number in range(BINS) if (item := _pooled([one[number] for one in found]))]
    x, y = _points(pooled)
    error_bar = None
    if len(runs) == 1:
        around = [wilson(item.right, item.images) for item in pooled]
        # max: Wilson's bounds miss 0 and 1 by a rounding error if all images are wrong, or all right
        error_bar = [[max(0, v - (i.low or 0)) for v, i in zip(y, around, strict=True)],
                  [max(0, (i.high or 0) - v) for v, i in zip(y, around, strict=True)]]  # fmt: skip
    dots = {"fmt": "o-", "color": BLUE, "markersize": 4, "lw": 1.2, "elinewidth": 1, "capsize": 2}
    upper.errorbar(x, y, yerr=error_bar, zorder=3, clip_on=False, **dots)
    upper.set(xlim=(0, 100), ylim=(0, 100), ylabel="accuracy, %")
    upper.grid()
    upper.set_axisbelow(True)
    upper.set_title(textwrap.fill(title, 36), fontsize=9)
    errors = 100 * float(np.mean([calibration_error(run) for run in runs]))
    text = f"ECE {errors:.2f} %" + (f", mean of {len(runs)}" if len(runs) > 1 else "")
    upper.text(4, 95, text, va="top", fontsize=9, color=INK)
    counts = [sum(item.images for one in found if (item := one[number])) / len(runs) for number in range(BINS)]
    lower.bar(EDGES[:-1], counts, width=np.diff(EDGES), align="edge", color=BLUE, alpha=0.35, edgecolor="white")
    lower.set(xlabel="confidence, %", ylabel="images")
    lower.grid(axis="y")
    lower.set_axisbelow(True)


def _points(there: Sequence[Bin]) -> tuple[list[float], list[float]]:
    return [100 * item.confidence for item in there], [100 * item.accuracy for item in there]


def _pooled(same: Sequence[Bin | None]) -> Bin | None:
    """One bin, pooled over several runs."""
    there = [item for item in same if item]
    images = sum(item.images for item in there)
    if not images:
        return None
    confidence = sum(item.images * item.confidence for item in there) / images
    return Bin(images, sum(item.right for item in there), confidence)
