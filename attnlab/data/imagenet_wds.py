"""ImageNet as tar shards in WebDataset's layout, in a folder or an object store; read forwards, decoded by workers.

The pictures, their crops and the validation draw are those of imagenet.py; the order is that of lanes.py. Batches,
order and augmentation come from (seed, epoch) alone, whatever ranks and workers there are, and a run that goes on
within an epoch reads on from there. Every image is read once an epoch. What is in the shards is found out once, by
walking their tar headers (shard_index.py); shards that lie elsewhere are streamed through for that.
"""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from attnlab.data.augment import DRAWS
from attnlab.data.batches import generator, taken
from attnlab.data.crops import Crops
from attnlab.data.imagenet import ImageNet
from attnlab.data.lanes import Part, check_ranks, lane_order, parts, positions
from attnlab.data.shard_images import Images, Pieces
from attnlab.data.shard_index import Shards, digest, read_index
from attnlab.data.shard_source import find_shards, is_remote
from attnlab.errors import ConfigError, DataError


class _Parts(Sampler[Part]):
    """Hands a DataLoader of this rank its workers' parts of each batch, in turns: part i is worker i mod workers'."""

    def __init__(self, data: "ImageNetShards", images: Images, training: bool, workers: int) -> None:
        self.data, self.images, self.training, self.workers = data, images, training, workers
        self.passes = data.passes_per_epoch if training else 1
        self.readings = 0

    def batches(self) -> list[Tensor]:
        """The positions of each global batch of a pass."""
        _, world = self.data.ranks()
        return positions(len(self.images), self.data.batch_size, self.training, world, self.data.drop_last)

    def __len__(self) -> int:
        return len(self.batches()) * self.passes * self.workers

    def __iter__(self) -> Iterator[Part]:
        data, (rank, world) = self.data, self.data.ranks()
        epoch = data.trainer.current_epoch if data.trainer is not None else 0
        done, batches = taken(data) if self.training else 0, self.batches()
        shards, seed = self.images.shards.shard[self.images.rows], data.order_seed if self.training else None
        for number in range(epoch * self.passes, (epoch + 1) * self.passes):
            self.readings += 1
            draws = None
            if self.training:
                source = generator(data.order_seed, 3, number)
                draws = torch.rand(len(shards), DRAWS + 1, generator=source, dtype=torch.float64)
            if batches[done:]:
                order = lane_order(shards, data.lanes, data.shuffle, seed, number)
                yield from parts(order, batches[done:], draws, self.readings, rank, world, self.workers)
            done = max(0, done - len(batches))


class Batches:
    """This rank's batches (images, labels, draws): each is put together from its workers' parts."""

    def __init__(self, data: "ImageNetShards", images: Images, training: bool) -> None:
        self.workers = min(data.workers, data.lanes // data.ranks()[1])  # a lane is read by one
        self.parts = _Parts(data, images, training, max(1, self.workers))
        self.loader: DataLoader[Any] = DataLoader(
            images,
            batch_sampler=self.parts,  # type: ignore[arg-type]
            num_workers=self.workers,
            collate_fn=_as_it_is,
            persistent_workers=self.workers > 0,
            prefetch_factor=2 * self.workers or None,  # in batches as many as imagenet.py's
        )

    def __len__(self) -> int:
        return len(self.parts) // self.parts.workers

    def __iter__(self) -> Iterator[list[Tensor]]:
        found: list[Pieces] = []
        for piece in self.loader:
            found.append(piece)
            if len(found) == self.parts.workers:
                yield _joined(found)
                found = []


def _as_it_is(pieces: Any) -> Any:
    return pieces


def _joined(pieces: list[Pieces]) -> list[Tensor]:
    """[images, labels, draws], each row in its place."""
    places = torch.tensor([place for piece in pieces for place in piece[0]], dtype=torch.int64)
    batch = []
    for tensors in zip(*(piece[1:] for piece in pieces), strict=True):
        first = max(tensors, key=len)  # an empty one has no width
        whole = torch.empty(len(places), *first.shape[1:], dtype=first.dtype, pin_memory=torch.cuda.is_available())
        whole[places] = torch.cat([t for t in tensors if len(t)] or [first])
        batch.append(whole)
    return batch


class ImageNetShards(ImageNet):
    """root: a folder of train-*.tar and val-*.tar (`val` is the test set of attnlab), or patterns of URLs: see
    shard_source.find_shards;  cache: folder for what is in the shards, or None;
    lanes: contiguous parts of an epoch that are read side by side, a multiple of the ranks;
    shuffle: images, of all lanes together, among which a lane's next one is drawn;  the rest: as ImageNet's.
    """

    def __init__(
        self,
        *,
        workers: int = 0,
        cache: str | None = None,
        lanes: int = 96,
        shuffle: int = 5000,
        **settings: Any,
    ) -> None:
        super().__init__(workers=workers, **settings)
        self.cache, self.lanes, self.shuffle = cache, lanes, shuffle

    def ranks(self) -> tuple[int, int]:
        """(this rank, how many there are)."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def setup(self, stage: str | None = None) -> None:
        if self.data_hash is not None:
            return
        if not find_spec("webdataset"):
            raise ConfigError("dataset=imagenet_wds: needs the package webdataset (attnlab[wds])")
        found = find_shards(self.root)
        train, test = (read_index(found[split], self.cache) for split in ("train", "val"))
        for shards in (train, test):
            self._check(shards)
        if (there := int(train.labels.max()) + 1) != self.classes:
            raise ConfigError(f"dataset.classes={self.classes}: the training shards have {there} classes")
        rest, drawn = self.held_out(train.labels)
        self.train, self.val = Images(train, rest), Images(train, drawn)
        self.test = Images(test, torch.arange(len(test)))
        self.data_hash = digest(train, test)

    def _check(self, shards: Shards) -> None:
        wrong = (shards.labels >= self.classes).nonzero().flatten()
        if len(wrong):
            row = int(wrong[0])
            raise ConfigError(
                f"dataset.classes={self.classes}: {shards.names()[row]} is of class {int(shards.labels[row])}; "
                f"allowed are 0 to {self.classes - 1}"
            )

    def files(self, name: str) -> Any:
        """As ImageNet's; of shards in a folder, others are only read forwards."""
        images: Images = getattr(self, name)
        if any(is_remote(url) for url in images.shards.urls):
            raise DataError(f"dataset.root={self.root}: single images are asked for; allowed is a folder of the shards")
        return images.cropped(Crops(self.image_size, self.centre, None))

    def evaluation_dataloader(self, name: str) -> Any:
        """The batches of `train`, `val` or `test`, not augmented, in the order of the lanes."""
        return self._loader(getattr(self, name), training=False)

    def test_order(self) -> Tensor:
        rank, world = self.ranks()
        order = lane_order(self.test.shards.shard[self.test.rows], self.lanes, self.shuffle, None)
        batches = positions(len(self.test), self.batch_size, False, world)
        mine = torch.cat([batch[batch % world == rank] for batch in batches])
        return order.emitted[order.index(mine)[1]]

    def _loader(self, listed: Any, training: bool) -> Any:
        check_ranks(self.lanes, self.batch_size if training else self.ranks()[1], self.ranks()[1])
        crop: Mapping[str, Any] | None = self.resized_crop if training else None
        return Batches(self, listed.cropped(Crops(self.image_size, self.centre, crop)), training)
