"""Pictures read one by one: the faster decoder and the faster resize give Pillow's pixels; evaluation is Pillow's."""

import numpy as np
import pytest
import torch
from PIL import Image

from attnlab.data.crops import Crops, resized_crop
from attnlab.data.decode import open_image, pixels_of, read_picture
from attnlab.data.imagenet import FilePictures
from attnlab.data.pictures import Decoded
from attnlab.errors import DataError


@pytest.fixture(scope="module")
def photo():
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image("china.jpg"))


def saved(photo, path, mode="RGB", size=(200, 150), **settings):
    photo.resize(size).convert(mode).save(path, **settings)
    return path


def as_tensor(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"quality": 90},
        {"quality": 60, "subsampling": 0},
        {"quality": 95, "subsampling": 1, "size": (33, 17)},
        {"progressive": True, "size": (101, 64)},
        {"mode": "L"},
        {"mode": "CMYK"},
        {"format": "PNG"},  # ImageNet has one PNG named .JPEG
        {"format": "PNG", "mode": "RGBA"},
    ],
)
def test_the_faster_decoder_gives_the_same_pixels(photo, tmp_path, settings):
    path = saved(photo, tmp_path / "a.JPEG", **settings)
    assert torch.equal(pixels_of(*read_picture(path)), as_tensor(open_image(path)))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_named(photo, tmp_path, share):
    path = saved(photo, tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=r"a\.jpg cannot be read as an image"):
        pixels_of(*read_picture(path))


@pytest.mark.parametrize("box", [(0, 0, 640, 427), (100, 50, 600, 400), (30, 300, 110, 420), (7, 9, 231, 233)])
def test_a_resized_crop_is_pillows(photo, box):
    """torchvision's definition, crop then resize; both round to uint8 after either direction, with other weights."""
    found = resized_crop(as_tensor(photo), box, 224)
    expected = as_tensor(photo.crop(box).resize((224, 224), Image.Resampling.BICUBIC))
    difference = (found.int() - expected.int()).abs()
    assert found.is_contiguous()
    assert float((difference == 0).float().mean()) > 0.95
    assert float((difference > 1).float().mean()) < 1e-3
    if (box[2] - box[0], box[3] - box[1]) == (224, 224):
        assert torch.equal(found, expected)


def test_evaluation_is_the_centre_by_pillow(photo, tmp_path):
    path = saved(photo, tmp_path / "a.jpg")
    found = Decoded(FilePictures([(path, 4)]), Crops(96, 0.875, {"scale": [0.08, 1]}))[0, ()]
    side = 150 * 0.875
    box = ((200 - side) / 2, (150 - side) / 2, (200 + side) / 2, (150 + side) / 2)
    with Image.open(path) as opened:
        expected = as_tensor(opened.convert("RGB").resize((96, 96), Image.Resampling.BICUBIC, box=box))
    assert torch.equal(found[0], expected)
    assert found[1] == 4
    assert found[0].is_contiguous()
