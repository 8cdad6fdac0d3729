"""An image tree ROOT/{train,test}/<class>/<image>, resized to dataset.image_size and held in memory."""

from typing import Any

from attnlab.configuration.image_tree import classes_of, images_of
from attnlab.data.decode import read_trees
from attnlab.data.left_out import not_used
from attnlab.data.memory import Images, MemoryData
from attnlab.errors import DataError

LARGEST = 8 * 2**30  # bytes of pixels: the most that is held in memory


class Folder(MemoryData):
    """image_size: the central square of an image is resized to it (bicubic);  listing: the tree's fingerprint, which
    identifies the images in a run's id;  the other arguments: see MemoryData.

    Raises DataError for a tree that is missing, empty, damaged or too large, and for one with another fingerprint.
    """

    def __init__(self, *, listing: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.listing = listing

    def read(self) -> tuple[Images, Images]:
        root, names = str(self.root), classes_of(str(self.root), "train")
        count = sum(len(images_of(root, split, names)) for split in ("train", "test"))
        if count * 3 * self.image_size**2 > LARGEST:
            raise DataError(
                f"dataset.image_size={self.image_size}: {count} images of that size take more than "
                f"{LARGEST >> 30} GiB of memory; use dataset=imagenet, which reads image by image"
            )
        self.names = names
        self.notes += not_used(root, names)
        return read_trees(root, self.image_size, self.cache, self.listing)
