"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): the official files, which are downloaded if missing, or an image tree."""

from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torchvision

from attnlab.configuration.image_tree import classes_of, images_of
from attnlab.data.decode import read_trees
from attnlab.data.download_lock import locked
from attnlab.data.left_out import not_used
from attnlab.data.memory import Images, MemoryData, canonical
from attnlab.errors import DataError


class CIFAR(MemoryData):
    """32x32 RGB, 50,000 training and 10,000 test images.

    root: a folder with the official files (verified by torchvision's checksums), or an image tree
    ROOT/{train,test}/<class>/<image>. If the folder is empty or missing, the official files are downloaded into it.
    All three give the same images in the same order. Raises DataError for incomplete files, and for a tree of other
    images or labels.
    """

    source: Any  # torchvision's class
    official: str  # data_hash of the official images and labels

    @property
    def file_order(self) -> bool:  # type: ignore[override]
        return not self._is_tree()

    def _is_tree(self) -> bool:
        root = Path(str(self.root))
        return not (root / self.source.base_folder).is_dir() and ((root / "train").is_dir() or (root / "test").is_dir())

    def read(self) -> tuple[Images, Images]:
        if not self._is_tree():
            train, test = self._official(train=True), self._official(train=False)
            return (train if self.validation.get("order") == "file" else canonical(train)), canonical(test)
        for split, images in (("train", 50_000), ("test", 10_000)):
            self._complete(split, images // self.classes)
        self.names = classes_of(str(self.root), "train")
        self.notes += not_used(str(self.root), self.names)
        return read_trees(str(self.root), self.image_size, self.cache)

    def _prepare(self) -> None:
        super()._prepare()
        if self._is_tree() and self.data_hash != self.official:
            raise DataError(
                f"dataset.root={self.root}: its images, or their classes in the order of the folders' names, are not "
                f"those of {type(self).__name__} (data_hash {self.data_hash}, expected {self.official}); for others "
                f"use dataset=folder dataset.image_size={self.image_size}"
            )

    def _official(self, train: bool) -> Images:
        root = Path(str(self.root))
        present = (root / self.source.base_folder).is_dir()
        try:
            try:
                data = self.source(str(root), train=train)
            except RuntimeError:  # missing, incomplete, or being unpacked by another process
                with locked(root):
                    present = (root / self.source.base_folder).is_dir()
                    data = self.source(str(root), train=train, download=not present)
        except (RuntimeError, OSError, EOFError) as error:
            if present:
                raise DataError(
                    f"dataset.root={self.root}: {self.source.base_folder}/ is incomplete or damaged "
                    f"(torchvision's checksums fail); remove it, or copy it again"
                ) from error
            raise DataError(
                f"dataset.root={self.root}: holds neither {self.source.base_folder}/ nor train/<class>/<image>, "
                f"and the download failed ({error})"
            ) from error
        self.names = list(data.classes)
        return Images(torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(data.targets))

    def _complete(self, split: str, each: int) -> None:
        classes = classes_of(str(self.root), "train")
        if len(classes) != self.classes:
            raise DataError(
                f"dataset.root={self.root}: train/ has {len(classes)} class folders, expected {self.classes}"
            )
        counts = Counter(number for _, number in images_of(str(self.root), split, classes))
        for number, name in enumerate(classes):
            if counts[number] != each:
                raise DataError(
                    f"dataset.root={self.root}: {split}/{name} holds {counts[number]} images, expected {each}; "
                    f"half a copy? For a subset use dataset=folder dataset.image_size=32"
                )


class CIFAR10(CIFAR):
    """CIFAR-10: 10 classes."""

    source = torchvision.datasets.CIFAR10
    official = "7fb3b2ee7ab97900"


class CIFAR100(CIFAR):
    """CIFAR-100: 100 fine classes."""

    source = torchvision.datasets.CIFAR100
    official = "2e5afefdaaa471cc"
