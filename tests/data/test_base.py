"""The contract of a dataset: what the shipped ones declare, and what an own one needs to write."""

import pytest
import torch

from attnlab.configuration.compose import config, plain
from attnlab.configuration.targets import construct, target
from attnlab.data.base import ImageData, Images
from attnlab.data.memory import MemoryData
from attnlab.data.subset import sample
from attnlab.errors import ConfigError


class Stripes(MemoryData):
    """Two classes of 8x8 images: what a person writes for a dataset of their own."""

    def __init__(self, *, count: int = 20, **settings):
        super().__init__(**settings)
        self.count = count

    def read(self):
        labels = torch.arange(self.count) % 2
        pixels = torch.arange(self.count).view(-1, 1, 1, 1).expand(-1, 3, 8, 8) * 9 + labels.view(-1, 1, 1, 1)
        return Images(pixels.byte(), labels), Images(255 - pixels.byte(), labels)


def test_an_own_dataset_writes_read_and_nothing_else():
    data = Stripes(classes=2, image_size=8, batch_size=4, validation={"images": 6, "order": "seed"})
    data.setup()
    assert (len(data.train), len(data.val), len(data.test)) == (14, 6, 20)
    assert [len(y) for _, y in data.train_dataloader()] == [4, 4, 4, 2]
    assert torch.equal(data.test_order(), torch.arange(20))
    assert torch.bincount(sample(data, "test", 6).labels).tolist() == [3, 3]
    assert data.data_hash
    with pytest.raises(ConfigError, match=r"^recipe\.validation\.order=file: only the official CIFAR files"):
        Stripes(classes=2, image_size=8, validation={"images": 6, "order": "file"}).setup()


@pytest.mark.parametrize("name", ["cifar10", "svhn", "cluttered_digits", "imagenet"])
def test_every_key_is_an_argument_or_declared_to_describe_the_data(name):
    dataset = plain(config([f"dataset={name}"]))["dataset"]
    assert dataset.pop("fraction") is None  # data.build reads it
    assert issubclass(target(dataset, "dataset"), ImageData)
    assert construct(dataset, "dataset").classes == dataset["classes"]
    message = r"^unknown key dataset\.nonsense; allowed are .*seed, .*mirror"
    with pytest.raises(ConfigError, match=message):
        construct(dataset | {"nonsense": 1}, "dataset")
    with pytest.raises(ConfigError, match=r"^wrong value dataset\.classes=ten; allowed is an integer$"):
        construct(dataset | {"classes": "ten"}, "dataset")
    if name != "imagenet":
        with pytest.raises(ConfigError, match=r"^unknown key dataset\.listing; .*allowed are "):
            construct(dataset | {"listing": "0"}, "dataset")
