"""Which maps and images are drawn, and their names."""

import torch

from attnlab.data.memory import Images
from attnlab.evaluation.drawing.map_figures import heading
from attnlab.evaluation.drawing.map_view import class_by_class, evenly_spaced


def test_headings_are_short():
    assert heading("backbone.stage2.0.at_branch.spatial") == "stage2.0 spatial"
    assert heading("head.levels.stage3") == "stage3"
    assert heading("backbone") == "backbone"
    assert heading("gradcam") == "Grad-CAM"


def test_gates_are_evenly_spaced():
    assert evenly_spaced(list("abcdefghi"), 4) == ["a", "d", "f", "i"]
    assert evenly_spaced(list("ab"), 4) == ["a", "b"]


def test_images_are_taken_from_all_classes_in_turn():
    labels = torch.tensor([2, 2, 0, 1, 0, 2])
    images = Images(torch.arange(6).view(6, 1, 1, 1).expand(6, 3, 2, 2).to(torch.uint8), labels)
    assert class_by_class(images, 4).labels.tolist() == [0, 1, 2, 0]
    assert len(class_by_class(images, 99)) == 6
