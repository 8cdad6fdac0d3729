"""bench data: both sides do the same work, and the report names the arguments. No time is asserted."""

import pytest
import torch

from attnlab.benchmarks import data as bench
from attnlab.benchmarks import torchvision_loader
from attnlab.benchmarks.commands import read_arguments
from attnlab.errors import ConfigError

SMALL = ("model=resnet8", "recipe.batch_size=8", "machine.workers=0", "machine.accelerator=cpu", "repeats=2")


@pytest.fixture
def tiny(monkeypatch):
    sizes = {"SMALL": 64, "SMALL_BATCH": 16, "PASS": 2, "LARGE": 8, "LARGE_BATCH": 4, "LARGE_SIZE": 32}
    for name, value in sizes.items():
        monkeypatch.setattr(bench, name, value)


def asked(*arguments):
    return read_arguments("data", [*SMALL, *arguments])[0]


def test_every_row_has_its_two_sides(tiny):
    report = bench.data(asked())
    assert [(row.of, row.over, row.unit) for row in report.rows] == [
        ("torchvision", "attnlab", "x"),
        ("torchvision", "attnlab, mean image", "x"),
        ("attnlab", "step", "share"),
        ("attnlab, mean image", "step", "share"),
        ("torchvision", "attnlab", "x"),
        ("torchvision, bicubic", "attnlab", "x"),
        ("torchvision", "attnlab's workers", "x"),
    ]
    assert all(len(times) == 2 and min(times) > 0 for row in report.rows for times in row.seconds.values())
    assert "random bytes, 32 px" in report.rows[0].case
    assert report.rows[0].facts["workers"] == 0


def test_a_dataset_that_is_named_is_measured(tiny):
    named = asked("dataset=cluttered_digits", "dataset.train_size=60", "dataset.test_size=20", "dataset.cache=null")
    values = named.values(*bench.DEFAULTS, "recipe.validation.images=10")
    what, split = bench.small_images(named, values)
    assert what == "dataset=cluttered_digits, 32 px"
    assert len(split) == 50
    refused = asked("dataset=imagenet", "dataset.root=nowhere")
    with pytest.raises(ConfigError, match="not in memory: the dataset is ImageNet; allowed here are"):
        bench.small_images(refused, refused.values(*bench.DEFAULTS))


def test_the_usual_way_gives_batches_of_the_same_kind(tmp_path):
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8)
    pictures = torchvision_loader.Pictures(images, torch.arange(20), torchvision_loader.crops_and_flips(32))
    x, y = next(iter(torchvision_loader.loader(pictures, 8, 0)))
    assert (x.shape, x.dtype, y.shape) == ((8, 3, 32, 32), torch.float32, (8,))
    torchvision_loader.write_photographs(tmp_path, 6, classes=2)
    folder = torchvision_loader.folder(tmp_path, 48, "bilinear")
    assert (len(folder), folder[0][0].shape, len(folder.classes)) == (6, (3, 48, 48), 2)
    with torchvision_loader.Image.open(folder.samples[0][0]) as picture:
        assert (picture.size, picture.format) == ((500, 375), "JPEG")
