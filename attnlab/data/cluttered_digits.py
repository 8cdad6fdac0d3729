"""The embedded dataset: handwritten digits on photographs among clutter; the mask of each digit is known."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from attnlab.configuration.digest import digest
from attnlab.data import cluttered_digits_images
from attnlab.data.cache import cached
from attnlab.data.cluttered_digits_images import Split, generate
from attnlab.data.memory import Images, MemoryData
from attnlab.errors import ConfigError

MAKERS = ("torch", "scikit-image", "scikit-learn", "pillow")  # packages whose version may change a pixel

#: digest of the code that makes the images; taken at import, since the file may be edited while this process runs
SOURCE = hashlib.sha256(Path(cluttered_digits_images.__file__).read_bytes()).hexdigest()[:12]


class ClutteredDigits(MemoryData):
    """32x32 RGB, 10 classes, generated without a download; see `attnlab.data.cluttered_digits_images.generate`.

    train_size, test_size: number of images;  background_bias: probability that a training photo predicts the class;
    seed: of the images and of the validation draw;  the other arguments: see MemoryData.
    """

    seed_makes_images = True

    def __init__(
        self, *, train_size: int = 20_000, test_size: int = 4_000, background_bias: float = 0.0, **settings: Any
    ) -> None:
        super().__init__(**settings)
        for name, size in (("train_size", train_size), ("test_size", test_size)):
            if size < self.classes:
                raise ConfigError(
                    f"wrong value dataset.{name}={size}; allowed is an integer from {self.classes}, one image for "
                    "each class"
                )
        self.sizes = {"train_size": train_size, "test_size": test_size}
        self.background_bias = background_bias

    def read(self) -> tuple[Images, Images]:
        settings = {**self.sizes, "background_bias": self.background_bias, "seed": self.seed}
        made_by = {"code": SOURCE} | {name: version(name) for name in MAKERS}
        kept = cached(self.cache, f"cluttered_digits-{digest(settings | made_by)}", lambda: self._generate(settings))
        train, test = (
            Images(kept[f"{split}_images"], kept[f"{split}_labels"], kept[f"{split}_masks"])
            for split in ("train", "test")
        )
        return train, test

    @staticmethod
    def _generate(settings: dict[str, Any]) -> dict[str, torch.Tensor]:
        splits: dict[str, Split] = generate(**settings)
        return {
            f"{name}_{part}": getattr(split, part)
            for name, split in splits.items()
            for part in ("images", "labels", "masks", "photos")
        }
