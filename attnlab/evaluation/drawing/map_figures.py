"""Figures of maps over images, and of channel masks by class.

A figure of maps has one column per map and two lines per image. Soft: the colours span each map's own minimum to its
own maximum, so a mask that hardly varies looks like one that varies a lot; the range stands below the column. Hard: the
pixels above Otsu's threshold.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from attnlab.data.memory import Images
from attnlab.evaluation.cam_names import HEADINGS
from attnlab.evaluation.drawing.labels import lines_in, width_of, wrap
from attnlab.evaluation.drawing.map_view import MapView
from attnlab.evaluation.drawing.overlays import GAP, enlarge, hard_overlay, mosaic, outline_object, soft_overlay
from attnlab.evaluation.gate_names import short_name
from attnlab.tables.dark_picture import KEY
from attnlab.tables.style import GREY, INK, STYLE

DPI = 150
SMALL, BOLD = 6.5, 8.0  # points, of the labels and of the title
LINE, TITLE_LINE = 17, 21  # px, of a line of each
WIDEST_LABEL = 190  # px, of the texts on the left


def heading(name: str) -> str:
    """The heading of a map: the CAM's name, or the gate's short name."""
    return HEADINGS.get(name) or short_name(name)


def save_figure(figure: Figure, path: Path, texts: Mapping[str, str] | None = None) -> Path:
    """Write a figure as PNG and close it; equal figures give equal bytes. texts: metadata stored in the PNG, besides
    the place of its photographs (dark_picture.py)."""
    places = [axis.get_window_extent() for axis in figure.axes if axis.get_gid() == KEY]
    height = figure.bbox.height
    inner = [[round(x) for x in (box.x0, height - box.y1, box.x1, height - box.y0)] for box in places]
    where = {KEY: json.dumps(inner[0])} if inner else {}
    figure.savefig(path, metadata={"Software": None, **where, **(texts or {})})
    plt.close(figure)
    return path


def side_by_side_figure(views: Sequence[tuple[str, MapView]], title: str, cams: Sequence[str] = ("gradcam",)) -> Figure:
    """Several runs on the same images, one column per image.

    First line: the images. Then per run its chosen mask, if it has one that varies over space, and its CAMs.
    """
    images = views[0][1].images
    objects = [None] * len(images) if images.masks is None else list(images.masks)
    lines = [[outline_object(enlarge(image.cpu()), mask) for image, mask in zip(images.images, objects, strict=True)]]
    labels = [""]
    for label, view in views:
        for name in [*([view.chosen] if view.chosen else []), *(cam for cam in cams if cam in view.maps)]:
            each = zip(images.images, view.maps[name], objects, strict=True)
            lines.append([outline_object(soft_overlay(image.cpu(), map_), mask) for image, map_, mask in each])
            labels.append(f"{label}\n{heading(name) if name in view.cams else 'mask, ' + short_name(name)}")
    heads = [label.split("\n")[0] for label in views[0][1].labels]
    return _figure(lines, heads, labels, (), title, 1)


def maps_figure(images: Images, maps: Mapping[str, Tensor], labels: Sequence[str], title: str) -> Figure:
    """Maps over images, soft and hard.

    images: uint8, with the objects' masks if known;  maps: {name: (N, H, W)};  labels: one text per image.
    """
    rows = []
    for number in range(len(images)):
        image, mask = images.images[number].cpu(), None if images.masks is None else images.masks[number]
        for draw in (soft_overlay, hard_overlay):
            first = enlarge(image) if draw is soft_overlay else outline_object(enlarge(image), mask)
            rows.append([first, *(outline_object(draw(image, found[number]), mask) for found in maps.values())])
    return _figure(rows, ["image", *map(heading, maps)], labels, _ranges(maps), title, 2)


def _ranges(maps: Mapping[str, Tensor]) -> list[str]:
    """The text below each column: the minimum and the maximum of a map, both averaged over the images."""
    found = [""]
    for maps_ in maps.values():
        low, high = (float(part.mean()) for part in (maps_.flatten(1).amin(1), maps_.flatten(1).amax(1)))
        found.append(f"{_brief(low)} to {_brief(high)}")
    return found


def _brief(value: float) -> str:
    """A number short enough for the width of a tile."""
    return "0" if abs(value) < 1e-4 else f"{value:.1g}" if abs(value) < 0.01 else f"{value:.2f}"


def _figure(
    rows: Sequence[Sequence[Any]],
    columns: Sequence[str],
    labels: Sequence[str],
    under: Sequence[str],
    title: str,
    lines: int,
) -> Figure:
    """Draw rows of tiles with texts around them. under: texts below the columns;  lines: rows per label, 1 or 2.

    Every text is broken into lines that fit its place, and the margins grow with the number of lines.
    """
    canvas = mosaic(rows)
    height, width = rows[0][0].shape[:2]
    columns, under = ([wrap(text, width - 4, SMALL, DPI) for text in texts] for texts in (columns, under))
    labels = [wrap(text, WIDEST_LABEL, SMALL, DPI) for text in labels]
    longest = max(width_of(line, SMALL, DPI) for label in labels for line in label.split("\n"))
    beside = 46 if lines > 1 else 8  # px, from the tiles to the labels: the place of `soft` and `hard`
    left = int(longest) + beside + 16
    title = wrap(title, canvas.shape[1] + left - 24, BOLD, DPI, "bold")
    top = 14 + TITLE_LINE * lines_in([title]) + LINE * lines_in(columns) + 12
    bottom = 16 + LINE * lines_in(under)
    with plt.rc_context(STYLE):
        total_w, total_h = canvas.shape[1] + left, canvas.shape[0] + top + bottom
        figure = plt.figure(figsize=(total_w / DPI, total_h / DPI), dpi=DPI)
        axis = figure.add_axes((left / total_w, bottom / total_h, canvas.shape[1] / total_w, canvas.shape[0] / total_h))
        axis.imshow(canvas, interpolation="nearest")
        axis.axis("off")
        axis.set_gid(KEY)
        small: Any = {"fontsize": SMALL, "clip_on": False}
        axis.text(8 - left, 12 - top, title, fontsize=BOLD, color=INK, weight="bold", va="top", clip_on=False)
        for number, (name, values) in enumerate(zip(columns, under or [""] * len(columns), strict=True)):
            centre = number * (width + GAP) + width / 2
            axis.text(centre, -10, name, ha="center", va="bottom", color=INK, **small)
            axis.text(centre, canvas.shape[0] + 8, values, ha="center", va="top", color=GREY, **small)
        for number in range(len(rows)) if lines > 1 else ():
            middle = number * (height + GAP) + height / 2
            axis.text(-8, middle, ("soft", "hard")[number % lines], ha="right", va="center", color=GREY, **small)
        for number, label in enumerate(labels):
            middle = number * lines * (height + GAP) + (lines * (height + GAP) - GAP) / 2
            axis.text(-beside, middle, label, ha="right", va="center", color=INK, **small)
    return figure


def channel_masks_figure(by_class: Mapping[str, Tensor], classes: Sequence[str], title: str) -> Figure:
    """Channel masks {gate: (classes, C)}: one strip per gate, one line per class, one column per channel.

    Differences between the lines show how much a gate depends on the class: Hu et al. 2018 (arXiv 1709.01507), section
    7.2, the role of excitation.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(by_class), 1, figsize=(7.5, 0.5 + (0.55 + 0.09 * len(classes)) * len(by_class)), squeeze=False
        )
        for axis, (name, m) in zip(axes[:, 0], by_class.items(), strict=True):
            drawn = axis.imshow(m.cpu().numpy(), aspect="auto", cmap="inferno", interpolation="nearest")
            step = max(1, len(classes) // 10)
            axis.set_yticks(
                range(0, len(classes), step), [classes[i] for i in range(0, len(classes), step)], fontsize=6
            )
            axis.set_title(f"{short_name(name)}, {m.shape[1]} channels", fontsize=8)
            axis.tick_params(axis="x", labelsize=6)
            bar = figure.colorbar(drawn, ax=axis, pad=0.015, fraction=0.03)
            bar.ax.tick_params(labelsize=6)
            bar.outline.set_visible(False)
        figure.suptitle(title, fontsize=9, x=0.02, ha="left", weight="bold")
        figure.tight_layout()
    return figure
