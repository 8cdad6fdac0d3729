"""Texts around tiles: they fit their place, and none lies on another one."""

import itertools

import pytest
import torch

from attnlab.data.memory import Images
from attnlab.evaluation.drawing.labels import lines_in, width_of, wrap
from attnlab.evaluation.drawing.map_figures import DPI, SMALL, maps_figure, side_by_side_figure
from attnlab.evaluation.drawing.map_view import MapView

LONG = [
    "backbone.stage2.0.at_branch.spatial_with_a_long_name",
    "backbone.layer4.1.bn2.at_end.spatial",
    "integrated_gradients",
]


@pytest.mark.parametrize("text", ["stage2.0 spatial", "integrated gradients", "a" * 60, "two\nlines and more", ""])
def test_no_line_is_wider_than_its_place(text):
    wrapped = wrap(text, 96, SMALL, DPI)
    assert wrapped.replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(" ", "")
    assert max(width_of(line, SMALL, DPI) for line in wrapped.split("\n")) <= 96


def test_a_text_is_broken_at_the_right_places():
    assert wrap("stage2.0", 96, SMALL, DPI) == "stage2.0"
    assert wrap("0.0007 to 1.00", 96, SMALL, DPI).split("\n") == ["0.0007 to", "1.00"]
    assert lines_in(["a", "b\nc"]) == 2
    assert lines_in([]) == 0


def boxes(figure):
    renderer = figure.canvas.get_renderer()
    (axis,) = figure.axes
    found = [text.get_window_extent(renderer) for text in axis.texts if text.get_text()]
    return [*found, axis.get_window_extent(renderer)], figure.bbox


@pytest.mark.parametrize("count", [1, 4])
def test_labels_do_not_overlap_and_lie_within_the_figure(count):
    images = Images(torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    maps = {name: torch.rand(2, 32, 32) for name in [*LONG, "gradcam"][:count]}
    labels = ["a class with a very long name, of many words\npredicted another one with a long name", "0123456789" * 4]
    title = (
        "resnet20, cbam with a long name, and a long title, cluttered_digits test_size=100 train_size=400: all gates"
    )
    view = MapView(images, maps | {"gradcam": torch.rand(2, 32, 32)}, labels, chosen=LONG[0])
    for figure in (
        maps_figure(images, maps, labels, title),
        side_by_side_figure([("a row of the table, with a column", view)], title),
    ):
        found, page = boxes(figure)
        for one, other in itertools.combinations(found, 2):
            assert not one.overlaps(other), (one, other)
        for box in found:
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= page.x1 + 1
            assert box.y1 <= page.y1 + 1
