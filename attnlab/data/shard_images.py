"""Images that lie in shards, decoded: one by one, or as a worker's part of a batch."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from attnlab.data.augment import DRAWS
from attnlab.data.crops import Crops
from attnlab.data.imagenet import Item
from attnlab.data.lanes import Part
from attnlab.data.shard_index import Shards
from attnlab.data.shard_reader import Reader
from attnlab.errors import DataError

FORMATS = ("JPEG", "PNG")
Pieces = tuple[list[int], Tensor, Tensor, Tensor]  # places in the batch; uint8 (B, 3, S, S), labels (B,), draws


class Images(Dataset[Any]):
    """Some images of shards: `rows` of their index, labels.

    images[(number, draws)] is (uint8 (3, S, S), label, draws) of one, as imagenet.Files; a worker decodes a Part at
    once and holds what it has read of a block until it is wanted.
    """

    def __init__(self, shards: Shards, rows: Tensor) -> None:
        self.shards, self.rows = shards, rows
        self.reading, self.held = -1, dict[int, bytes]()
        self.reader = Reader(shards)
        self.names: list[str] | None = None
        self.crops: Crops

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> list[int]:
        """Of every image, in the order they lie in the shards."""
        found: list[int] = self.shards.labels[self.rows].tolist()
        return found

    def cropped(self, crops: Crops) -> "Images":
        """The same images, with a reader of their own."""
        images = Images(self.shards, self.rows)
        images.crops = crops
        return images

    def __getitem__(self, item: Item) -> tuple[Tensor, int, Tensor]:
        number, draws = item
        row, reader = int(self.rows[number]), Reader(self.shards)  # threads may ask at once
        ((_, data),) = reader.read(0, [row])
        reader.close()
        return self._decode(row, data, draws), int(self.shards.labels[row]), torch.tensor(draws[:DRAWS])

    def __getitems__(self, part: Part) -> Pieces:
        if part.reading != self.reading:  # what an epoch left that was not finished
            self.reading, self.held = part.reading, {}
            self.reader.close()
        rows = self.rows[part.images].tolist()
        for lane, block in part.blocks:
            self.held |= self.reader.read(lane, self.rows[block].tolist())
        # None, as long as a DataLoader asks its workers in turns.
        self.held |= self.reader.read(-1, [row for row in rows if row not in self.held])
        pixels = [torch.empty(0, 3, self.crops.image_size, self.crops.image_size, dtype=torch.uint8)]
        for row, draws in zip(rows, part.draws, strict=True):
            pixels.append(self._decode(row, self.held.pop(row), draws)[None])
        drawn = torch.tensor([draws[:DRAWS] for draws in part.draws])
        return part.places, torch.cat(pixels), self.shards.labels[rows], drawn

    def _decode(self, row: int, data: bytes, draws: tuple[float, ...]) -> Tensor:
        try:
            return self.crops(data, "", draws, FORMATS)
        except DataError as error:  # names are worth the making only now
            reason = str(error).partition("cannot be read")[2]
            raise DataError(f"dataset.root: {self.shards.names()[row]} cannot be read{reason}") from error
