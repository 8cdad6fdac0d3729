"""Which training images a run uses: a share of them that is held out, and a part of the others."""

from torch import Tensor

from attnlab.configuration.held_out import count_held_out
from attnlab.configuration.messages import wrong_value
from attnlab.data.base import ImageData
from attnlab.data.batches import stratified
from attnlab.data.memory import MemoryData
from attnlab.data.pictures import PictureData
from attnlab.errors import ConfigError


def choose_parts(data: ImageData, images: float, fraction: float | None = None) -> None:
    """Make the data module hold out a share of its images, and train on a fraction of the rest.

    images: recipe.validation.images; a float is a share of the training set, rounded to whole images, an integer is a
    number of images.  fraction: dataset.fraction, the part of the images that are not held out; None = all. The part is
    stratified and drawn by dataset.seed, so a smaller fraction is a part of a larger one. Held-out and test images are
    the same for every fraction.

    Must be called before `setup`. `setup` then raises ConfigError for a share of less than one image, for more images
    than can be held out, and for a fraction that leaves a class without an image. A class that is neither MemoryData
    nor PictureData has no such keys.
    """
    if not isinstance(data, MemoryData | PictureData):
        if fraction is not None:
            raise ConfigError(wrong_value("dataset.fraction", fraction, "null for this dataset"))
        if isinstance(images, float):
            raise ConfigError(wrong_value("recipe.validation.images", images, "an integer for this dataset"))
        return
    draw = data.held_out

    def held_out(labels: Tensor) -> tuple[Tensor, Tensor]:
        data.validation["images"] = count_held_out(images, len(labels), data.classes)
        rest, drawn = draw(labels)
        return (rest if fraction is None else _part(rest, labels, fraction, data.seed)), drawn

    data.held_out = held_out  # type: ignore[method-assign]


def _part(rest: Tensor, labels: Tensor, fraction: float, seed: int) -> Tensor:
    """The chosen fraction of the image numbers `rest`, ascending; each class in its proportion."""
    mine = labels[rest]
    chosen = rest[stratified(mine, round(fraction * len(rest)), seed)[1]]
    lost = set(mine.unique().tolist()) - set(labels[chosen].unique().tolist())
    if lost:
        raise ConfigError(
            f"wrong value dataset.fraction={fraction}; allowed is a larger part: {len(lost)} of {len(mine.unique())} "
            f"classes would have no image among {len(chosen)}"
        )
    return chosen
