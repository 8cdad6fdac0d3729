"""Image-classification sets of the Hugging Face hub, and local Parquet, Arrow or WebDataset files, by `datasets`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.configuration.digest import digest
from attnlab.configuration.picture_table import KEYS, Table, contents, read_tables
from attnlab.data.base import Images
from attnlab.data.batches import taken
from attnlab.data.cache import cached
from attnlab.data.decode import DECODER
from attnlab.data.memory import Batches
from attnlab.data.pictures import PictureData, Source
from attnlab.errors import ConfigError, DataError

LARGEST = 2 * 2**30  # bytes of pixels that are held in memory unless dataset.in_memory says otherwise


class TablePictures:
    """The pictures of some rows of a table."""

    def __init__(self, table: Table, rows: Sequence[int] | np.ndarray) -> None:
        self.table, self.rows = table, np.asarray(rows, dtype=np.int64)
        self.labels: list[int] = table.labels[self.rows].tolist()

    @classmethod
    def of(cls, table: Table) -> "TablePictures":
        """All pictures of a table."""
        return cls(table, np.arange(len(table.labels)))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[bytes, str]:
        row = int(self.rows[number])
        return self.table.encoded(row), f"row {row} of split {self.table.split}"

    def take(self, index: Sequence[int]) -> "TablePictures":
        """The chosen pictures, in the order of `index`."""
        return TablePictures(self.table, self.rows[np.asarray(index, dtype=np.int64)])


class HuggingFace(PictureData):
    """name: a set of the hub;  root: that name, or a local folder;  subset, revision: the hub's;
    train_split, test_split: null = the first of test, validation, valid, val that has labels;
    image_column, label_column: null = found by their types;
    listing: the fingerprint of the pictures, labels and class names;
    in_memory: whether decoded pictures are held in memory; null = where they take up to 2 GiB. Batches are the same;
    cache: folder for pictures decoded into memory, or None;  the other arguments: those of PictureData.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        name: str | None = None,
        subset: str | None = None,
        revision: str | None = None,
        train_split: str = "train",
        test_split: str | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        listing: str | None = None,
        in_memory: bool | None = None,
        cache: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(root=root if root is not None else name, **settings)
        where = (self.root, name, subset, revision, train_split, test_split, image_column, label_column)
        self.where = dict(zip(KEYS, where, strict=True))
        self.listing, self.in_memory, self.cache = listing, in_memory, cache

    def read(self) -> Source:
        train, test = read_tables(self.where)
        listing, digests = contents(train, test)
        if self.listing not in (None, listing):
            raise DataError(
                f"dataset.root={self.root}: holds other pictures (listing {listing}) than the config was made for "
                f"(dataset.listing={self.listing}); compose it anew"
            )
        for table in (train, test):
            count = int(table.labels.max()) + 1 if table.names is None else len(table.names)
            if count > self.classes or (table is train and count != self.classes):
                raise ConfigError(f"dataset.classes={self.classes}: split {table.split} has {count} classes")
        self.names = list(train.names) if train.names is not None else None
        return Source(TablePictures.of(train), TablePictures.of(test), listing, digests)

    def setup(self, stage: str | None = None) -> None:
        if self.data_hash is None:
            self._prepare()
            if self._fits_in_memory():
                self._decode()
        if isinstance(self.test, Images) and self.trainer is not None:
            device = self.trainer.strategy.root_device
            self.train, self.val, self.test = (part.to(device) for part in (self.train, self.val, self.test))

    def _fits_in_memory(self) -> bool:
        """Whether pictures are decoded once. resized_crop cuts another box out of the encoded picture in each epoch."""
        if self.resized_crop and self.in_memory:
            raise ConfigError(
                "wrong value dataset.in_memory=true with recipe.augment.resized_crop; allowed is false, null"
            )
        size = sum(map(len, (self.train, self.val, self.test))) * 3 * self.image_size**2
        return not self.resized_crop and (size <= LARGEST if self.in_memory is None else self.in_memory)

    def _decode(self) -> None:
        tables = dict(zip(("train", "test"), read_tables(self.where), strict=True))
        key = digest([self.data_hash, self.image_size, self.centre, DECODER])
        pixels = cached(
            self.cache,
            f"huggingface-{key}",
            lambda: {name: self.decode(TablePictures.of(table)) for name, table in tables.items()},
        )
        self.train, self.val, self.test = (
            Images(pixels[name][part.rows], torch.tensor(part.labels, dtype=torch.int64))
            for name, part in (("train", self.train), ("train", self.val), ("test", self.test))
        )

    def take(self, split: str, index: Tensor) -> Images:
        images = getattr(self, split)
        if isinstance(images, Images):
            return images.take(index.to(images.labels.device))
        return super().take(split, index)

    def _loader(self, split: str, training: bool) -> Any:
        images = getattr(self, split)
        if not isinstance(images, Images):
            return super()._loader(split, training)
        count = len(images)
        if not training:
            return Batches(images, lambda number: self.evaluation_plan(count), self.preprocess)
        return Batches(
            images,
            lambda number: self.training_plan(count, number),
            self.preprocess,
            epoch=self.epoch,
            draws=lambda number: self.draws(count, number),
            passes=self.passes_per_epoch,
            done=lambda: taken(self),
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        if isinstance(self.test, Images):  # Batches have preprocessed it
            return batch
        return super().on_after_batch_transfer(batch, dataloader_idx)
