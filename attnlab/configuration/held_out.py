"""How many training images are held out for validation, checked as soon as the size of the training set is known."""

from collections.abc import Mapping
from typing import Any

from attnlab.errors import ConfigError

#: training images of the official sets; others declare theirs as dataset.train_size, or are counted when they are read
OFFICIAL = {
    "attnlab.data.cifar.CIFAR10": 50_000, "attnlab.data.cifar.CIFAR100": 50_000, "attnlab.data.svhn.SVHN": 73_257,
}  # fmt: skip


def check_held_out(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for recipe.validation.images that a training set of known size cannot hold out."""
    dataset = values["dataset"]
    total = dataset.get("train_size", OFFICIAL.get(dataset["_target_"]))
    if isinstance(total, int) and total > dataset["classes"]:
        count_held_out(values["recipe"]["validation"]["images"], total, dataset["classes"])


def count_held_out(images: float, total: int, classes: int) -> int:
    """The number of images to hold out of `total`. images: recipe.validation.images, a number or a share.

    Raises ConfigError for a share of less than one image, and if fewer images than classes would be left.
    """
    count = round(images * total) if isinstance(images, float) else images
    most = total - classes
    if count > most or (images and not count):
        least = "a share of at least one image" if images and not count else f"0 to {most}, or a share, as 0.1"
        raise ConfigError(
            f"wrong value recipe.validation.images={images}; allowed is {least}; the training set has {total} images"
        )
    return count
