"""Texts around tiles: they fit their place, and none lies on another one."""

import itertools

import pytest
import synthetic
import torch

from attnlab.data.memory import Images
from attnlab.evaluation.drawing.labels import lines_in, width_of, wrap
from attnlab.evaluation.drawing.map_figures import DPI, SMALL, maps_figure, side_by_side_figure
from attnlab.evaluation.drawing.map_view import MapView
from attnlab.evaluation.drawing.page import labels_of

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


def test_only_the_maps_of_masks_are_called_masks():
    images = Images(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    cams = ("gradcam", "occlusion", "saliency")
    maps = {name: torch.rand(1, 32, 32) for name in ["backbone.stage2.0.at_branch.spatial", *cams]}
    view = MapView(images, maps, ["a"], chosen="backbone.stage2.0.at_branch.spatial", cams=cams)
    texts = [
        text.get_text().replace("\n", " ") for text in side_by_side_figure([("se", view)], "t", cams).axes[0].texts
    ]
    assert [text for text in texts if text.startswith("se ")] == [
        "se mask, stage2.0 spatial", "se Grad-CAM", "se occlusion", "se saliency",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "labels", "shared"),
    [
        (["attention=se", "attention=none"], ["se", "none"], "resnet8, cluttered_digits test_size=50, seed 0"),
        (["attention=se", "attention=se seed=1"], ["seed 0", "seed 1"], "resnet8, se, cluttered_digits test_size=50"),
        (
            ["head=ltpa", "recipe.epochs=3"],
            ["ltpa, epochs=2", "linear, epochs=3"],
            "resnet8, none, cluttered_digits test_size=50, quick, seed 0",
        ),
    ],
)
def test_rows_name_what_tells_runs_apart_and_the_title_what_they_share(runs, labels, shared):
    found = [synthetic.record(["model=resnet8", "dataset.test_size=50", *run.split()]) for run in runs]
    assert labels_of(found) == (labels, shared)


def test_runs_that_differ_in_nothing_named_are_told_apart_by_their_ids():
    one, other = (synthetic.record([]) | {"id": name * 12} for name in "ab")
    assert labels_of([one, other])[0] == ["(aaaaaaaa)", "(bbbbbbbb)"]
