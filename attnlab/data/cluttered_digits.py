"""The embedded dataset: handwritten digits on photographs among clutter; the mask of each digit is known."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from attnlab.configuration.digest import digest
from attnlab.configuration.messages import wrong_value
from attnlab.data import cluttered_digits_images
from attnlab.data.cache import cached
from attnlab.data.cluttered_digits_images import Difficulty, Split, generate
from attnlab.data.memory import Images, MemoryData
from attnlab.errors import ConfigError

MAKERS = ("torch", "scikit-image", "scikit-learn", "pillow")  # packages whose version may change a pixel

MOST_CLUTTER = 50

#: digest of the code that makes the images; taken at import, since the file may be edited while this process runs
SOURCE = hashlib.sha256(Path(cluttered_digits_images.__file__).read_bytes()).hexdigest()[:12]


def difficulty_of(
    clutter: int | None = None, contrast: Sequence[float] | None = None, digit_height: Sequence[float] | None = None
) -> Difficulty:
    """The Difficulty with these values in place of its own. Raises ConfigError for values that make no image."""
    values: dict[str, Any] = {}
    if clutter is not None:
        if isinstance(clutter, bool) or not isinstance(clutter, int) or not 0 <= clutter <= MOST_CLUTTER:
            raise ConfigError(wrong_value("dataset.clutter", clutter, f"an integer from 0 to {MOST_CLUTTER}"))
        values["clutter"] = clutter
    for name, value, least, most, unit in (
        ("contrast", contrast, 0.05, 1, "luma"),
        ("digit_height", digit_height, 8, 24, "px"),
    ):
        if value is not None:
            pair = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
            numbers = len(pair) == 2 and all(isinstance(x, int | float) and not isinstance(x, bool) for x in pair)
            if not numbers or not least <= pair[0] <= pair[1] <= most:
                allowed = f"[least, most], from {least} to {most} ({unit})"
                raise ConfigError(wrong_value(f"dataset.{name}", value, allowed))
            values[name] = (float(pair[0]), float(pair[1]))
    return Difficulty(**values)


class ClutteredDigits(MemoryData):
    """32x32 RGB, 10 classes, generated without a download; see `attnlab.data.cluttered_digits_images.generate`.

    train_size, test_size: number of images;  background_bias: probability that a training photo predicts the class;
    clutter, contrast, digit_height: see Difficulty, whose default stands for null;
    seed: of the images and of the validation draw;  the other arguments: see MemoryData.
    """

    seed_makes_images = True

    def __init__(
        self,
        *,
        train_size: int = 20_000,
        test_size: int = 4_000,
        background_bias: float = 0.0,
        clutter: int | None = None,
        contrast: Sequence[float] | None = None,
        digit_height: Sequence[float] | None = None,
        **settings: Any,
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
        self.difficulty = difficulty_of(clutter, contrast, digit_height)

    def read(self) -> tuple[Images, Images]:
        settings = {**self.sizes, "background_bias": self.background_bias, "seed": self.seed}
        made_by = {"code": SOURCE} | {name: version(name) for name in MAKERS} | asdict(self.difficulty)
        kept = cached(
            self.cache,
            f"cluttered_digits-{digest(settings | made_by)}",
            lambda: self._generate(settings | {"difficulty": self.difficulty}),
        )
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
