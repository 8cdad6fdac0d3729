"""Pictures of one run: its maps over test images, soft and hard, and its channel masks by class.

A column a map, two lines an image: soft (each map from its own minimum to its own maximum, so that a mask that hardly
varies looks like one that does: its range stands under it) and hard (above Otsu's threshold).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from attnlab.data.memory import Images
from attnlab.evaluation.drawing.map_view import View
from attnlab.evaluation.drawing.overlays import GAP, enlarged, hard, mosaic, outlined, soft
from attnlab.tables.style import GREY, INK, STYLE

NAMES = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM"}
DPI = 150


def short(name: str) -> str:
    """A module's name as a heading: backbone.stage2.0.at_branch.spatial -> stage2.0 spatial."""
    beside = ("backbone", "net", "stages", "head", "levels", "module", "at_branch")
    parts = [part for part in name.split(".") if part not in beside]
    return NAMES.get(name) or " ".join([".".join(parts[:2]), *parts[2:]])


def write(figure: Figure, path: Path, texts: Mapping[str, str] | None = None) -> Path:
    """Write a figure as PNG, the same bytes for the same picture, and let go of it. texts: kept in the PNG."""
    figure.savefig(path, metadata={"Software": None, **(texts or {})})
    plt.close(figure)
    return path


def side_by_side(rows: Sequence[tuple[str, View]], title: str) -> Figure:
    """The same images for several runs: a column an image, first as it is; then of each run its own mask, where
    it has one that varies over space, and Grad-CAM."""
    first = rows[0][1].images
    masks = first.masks

    def mask_of(number: int) -> Tensor | None:
        return None if masks is None else masks[number]

    lines = [[outlined(enlarged(image.cpu()), mask_of(i)) for i, image in enumerate(first.images)]]
    labels = [""]
    for label, seen in rows:
        for name in [*([seen.chosen] if seen.chosen else []), "gradcam"]:
            pairs = enumerate(zip(first.images, seen.maps[name], strict=True))
            lines.append([outlined(soft(image.cpu(), found), mask_of(i)) for i, (image, found) in pairs])
            labels.append(f"{label}\n{NAMES.get(name) or 'mask, ' + short(name)}")
    heads = [label.split("\n")[0].replace(" ", "\u00a0") for label in rows[0][1].labels]
    return _figure(lines, heads, labels, (), title, 1)


def maps_figure(
    images: Images,
    maps: Mapping[str, Tensor],
    labels: Sequence[str],
    title: str,
    *,
    lines: Sequence[str] = ("soft", "hard"),
) -> Figure:
    """images: uint8, with the objects' masks where known;  maps: {name: (N, H, W)};  labels: a line for each image."""
    rows = []
    for number in range(len(images)):
        image, mask = images.images[number].cpu(), None if images.masks is None else images.masks[number]
        for line in lines:
            draw = soft if line == "soft" else hard
            first = enlarged(image) if line == lines[0] else outlined(enlarged(image), mask)
            rows.append([first, *(outlined(draw(image, found[number]), mask) for found in maps.values())])
    return _figure(rows, ["image", *(short(name) for name in maps)], labels, _ranges(maps), title, len(lines))


def _ranges(maps: Mapping[str, Tensor]) -> list[str]:
    """The values under each column: from where to where a map of one image goes, the mean over images."""
    found = [""]
    for maps_ in maps.values():
        low, high = (float(part.mean()) for part in (maps_.flatten(1).amin(1), maps_.flatten(1).amax(1)))
        found.append(f"{_brief(low)} to {_brief(high)}")
    return found


def _brief(value: float) -> str:
    return "0" if abs(value) < 1e-4 else f"{value:.1e}" if abs(value) < 0.01 else f"{value:.2f}"


def _figure(
    rows: Sequence[Sequence[Any]],
    columns: Sequence[str],
    labels: Sequence[str],
    under: Sequence[str],
    title: str,
    lines: int,
) -> Figure:
    whole = mosaic(rows)
    height, width = rows[0][0].shape[:2]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    left, top, bottom = 24 + 7 * longest + 40 * (lines > 1), 84, 34  # px, for the texts
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=((whole.shape[1] + left) / DPI, (whole.shape[0] + top + bottom) / DPI), dpi=DPI)
        total_w, total_h = whole.shape[1] + left, whole.shape[0] + top + bottom
        axis = figure.add_axes((left / total_w, bottom / total_h, whole.shape[1] / total_w, whole.shape[0] / total_h))
        axis.imshow(whole, interpolation="nearest")
        axis.axis("off")
        small: Any = {"fontsize": 6.5, "clip_on": False}
        axis.text(-left + 4, -62, title, fontsize=8, color=INK, weight="bold", clip_on=False)
        for number, (name, values) in enumerate(zip(columns, under or [""] * len(columns), strict=True)):
            centre = number * (width + GAP) + width / 2
            axis.text(centre, -12, name.replace(" ", "\n", 1), ha="center", va="bottom", color=INK, **small)
            axis.text(centre, whole.shape[0] + 8, values, ha="center", va="top", color=GREY, **small)
        for number in range(len(rows)) if lines > 1 else ():
            middle = number * (height + GAP) + height / 2
            axis.text(-8, middle, ("soft", "hard")[number % lines], ha="right", va="center", color=GREY, **small)
        for number, label in enumerate(labels):
            middle = number * lines * (height + GAP) + (lines * (height + GAP) - GAP) / 2
            axis.text(-8 if lines == 1 else -46, middle, label, ha="right", va="center", color=INK, **small)
    return figure


def strips_figure(by_class: Mapping[str, Tensor], classes: Sequence[str], title: str) -> Figure:
    """{gate: its mean mask a class, (classes, C)}: a strip a gate, a line a class, a column a channel.

    Hu et al. 2018 (arXiv 1709.01507), section 7.2, the role of excitation: what differs from line to line is what the
    gate knows of the class.
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
            axis.set_title(f"{short(name)}, {m.shape[1]} channels", fontsize=8)
            axis.tick_params(axis="x", labelsize=6)
            bar = figure.colorbar(drawn, ax=axis, pad=0.015, fraction=0.03)
            bar.ax.tick_params(labelsize=6)
            bar.outline.set_visible(False)
        figure.suptitle(title, fontsize=9, x=0.02, ha="left", weight="bold")
        figure.tight_layout()
    return figure
