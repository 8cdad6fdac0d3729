"""ImageNet (Russakovsky et al. 2015) in torchvision's folder layout, or another tree that is too large for memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from attnlab.configuration.image_tree import classes_of, content_digest, images_of
from attnlab.data.decode import read_picture
from attnlab.data.left_out import left_out
from attnlab.data.pictures import PictureData, Source
from attnlab.errors import ConfigError


class FilePictures:
    """The pictures of listed files, (path, label) each."""

    def __init__(self, listed: Sequence[tuple[Path, int]]) -> None:
        self.paths = [str(path) for path, _ in listed]
        self.labels = [label for _, label in listed]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[bytes, str]:
        return read_picture(Path(self.paths[number]))

    def take(self, index: Sequence[int]) -> "FilePictures":
        """The chosen files, in the order of `index`."""
        return FilePictures([(Path(self.paths[i]), self.labels[i]) for i in index])


class ImageNet(PictureData):
    """ROOT/train/<class>/<image> and ROOT/val/<class>/<image>; `val` is the test set of attnlab.

    The arguments are those of PictureData.
    """

    facts: ClassVar[tuple[str, ...]] = ("mirror", "listing")

    def __init__(self, *, root: str, **settings: Any) -> None:
        super().__init__(root=root, **settings)

    def read(self) -> Source:
        root = str(self.root)
        names = classes_of(root, "train")
        if len(names) != self.classes:
            raise ConfigError(f"dataset.classes={self.classes}: {root}/train has {len(names)} class folders")
        train, test = images_of(root, "train", names), images_of(root, "val", names)
        self.names = names
        self.notes += left_out(root, ("train", "val"), names)
        return Source(FilePictures(train), FilePictures(test), *content_digest(root, train + test))
