"""Maps on a dark page: photographs stay, the white around them turns dark."""

import io

import numpy as np
import torch
from PIL import Image

from attnlab.data.memory import Images
from attnlab.evaluation.drawing.map_figures import maps_figure, save_figure
from attnlab.tables.dark_picture import PAPER, dark_picture
from attnlab.tables.formats import embedded


def test_only_what_surrounds_the_photographs_turns_dark(tmp_path):
    images = Images(torch.full((1, 3, 16, 16), 255, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    images.images[:, 0] = 200  # a bright photograph, nowhere white
    path = save_figure(
        maps_figure(images, {"gradcam": torch.rand(1, 16, 16)}, ["a label"], "a title"), tmp_path / "m.png"
    )
    light, dark = (np.array(Image.open(file).convert("RGB")) for file in (path, io.BytesIO(dark_picture(path) or b"")))
    changed = (light != dark).any(axis=2)
    assert changed[(light == 255).all(axis=2)].all()
    assert (dark[0, 0] == PAPER).all()
    assert not changed[(light == [200, 255, 255]).all(axis=2)].any()
    assert (light == [200, 255, 255]).all(axis=2).any()
    assert embedded(path, "maps").count("data:image/png") == 2


def test_another_picture_has_one_form(tmp_path):
    Image.new("RGB", (4, 4), "white").save(tmp_path / "p.png")
    assert dark_picture(tmp_path / "p.png") is None
    assert embedded(tmp_path / "p.png", "p").startswith("<img")
