"""Datasets that fit into memory: uint8 tensors, from which batches are cut and augmented on the network's device."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.data.augment import DRAWS, Preprocess
from attnlab.data.base import ImageData, Images
from attnlab.data.batches import evaluation_batches, generator, taken
from attnlab.data.duplicates import count_copies, duplicates_note
from attnlab.errors import ConfigError

TEST_BATCH = 512  # images a batch, at least, where nothing is trained


def _digests(split: Images) -> np.ndarray:
    """(N,) of 16 bytes: a digest of each image with its label."""
    rows, labels = split.images.flatten(1).numpy(), split.labels.numpy()
    found = [
        hashlib.blake2b(row.tobytes(), digest_size=16, key=bytes([y % 256, y // 256])).digest()
        for row, y in zip(rows, labels, strict=True)
    ]
    return np.array(found, dtype="S16").view("V16")


def canonical(split: Images) -> Images:
    """The images sorted by class, then by digest, so that their order does not depend on the files they came in."""
    digests = [item.tobytes() for item in _digests(split)]
    order = sorted(range(len(split)), key=lambda i: (int(split.labels[i]), digests[i]))
    return split.take(torch.tensor(order))


def content_hash(*splits: Images) -> str:
    """16 hexadecimal digits for the images and labels of the splits; their order within a split does not count."""
    total = hashlib.sha256()
    for split in splits:
        total.update(b"".join(sorted(item.tobytes() for item in _digests(split))) + b"|")
    return total.hexdigest()[:16]


class Batches:
    """An iterable of (images float32 (B, 3, H, W), labels (B,)) of a split in memory.

    plan: pass number -> this rank's index batches;  preprocess: uint8 images (and their draws) -> float32 images;
    draws: pass number -> uniform (N, DRAWS or more) for the augmentation; None = no augmentation;
    epoch, done: called when an iteration starts: the epoch's number, and how many of its batches to skip because a
    resumed run has seen them;  passes: over the images in one epoch.
    """

    def __init__(
        self,
        split: Images,
        plan: Callable[[int], list[Tensor]],
        preprocess: Preprocess,
        epoch: Callable[[], int] = lambda: 0,
        draws: Callable[[int], Tensor] | None = None,
        passes: int = 1,
        done: Callable[[], int] = lambda: 0,
    ) -> None:
        self.split, self.plan, self.preprocess = split, plan, preprocess
        self.epoch, self.draws, self.passes, self.done = epoch, draws, passes, done

    def __len__(self) -> int:
        return self.passes * len(self.plan(0)) if len(self.split) else 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        first, done = self.epoch() * self.passes, self.done()
        for number in range(first, first + self.passes):
            plan = self.plan(number)
            yield from self._pass(number, plan[done:])
            done = max(0, done - len(plan))

    def _pass(self, number: int, plan: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        if not plan:
            return
        split, device = self.split, self.split.images.device
        sizes, order = [len(index) for index in plan], torch.cat(plan)
        # Indices and draws are copied to the device once a pass: each copy makes the host wait for a GPU.
        draws: Sequence[Tensor | None] = [None] * len(plan)
        if self.draws is not None:
            draws = self.draws(number)[order, :DRAWS].float().to(device).split(sizes)
        for index, draw in zip(order.to(device).split(sizes), draws, strict=True):
            yield self.preprocess(split.images.index_select(0, index), draw), split.labels.index_select(0, index)


class MemoryData(ImageData):
    """A dataset that fits into memory. A subclass only writes `read`.

    cache: folder for decoded copies, or None;  normalize, augment: see Preprocess, whose statistics are those of the
    training images;  the other arguments: see ImageData. The splits are `Images`.
    """

    train: Images
    val: Images
    test: Images

    def __init__(
        self,
        *,
        cache: str | None = None,
        normalize: str = "channel",
        augment: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.cache, self.normalize, self.augment = cache, normalize, augment

    def read(self) -> tuple[Images, Images]:
        """(training, test) images. Where `file_order` is True the training images are in the order of the files."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if self.data_hash is None:
            self._prepare()
        if self.trainer is not None:  # batches are cut and augmented where the network is
            device = self.trainer.strategy.root_device
            self.train, self.val, self.test = self.train.to(device), self.val.to(device), self.test.to(device)

    def _prepare(self) -> None:
        train, test = self.read()
        for name, split in (("train", train), ("test", test)):
            self._check(name, split)
        self.data_hash = content_hash(train, test)
        rest, drawn = self.held_out(train.labels)
        self.train, self.val, self.test = train.take(rest), train.take(drawn), test
        splits = {"train": self.train, "val": self.val, "test": self.test}
        self.duplicates = count_copies({split: part.images for split, part in splits.items()})
        self.notes += duplicates_note(self.duplicates, {split: len(part) for split, part in splits.items()})
        self.preprocess = Preprocess(self.normalize, self.augment, self.train.images)

    def _check(self, name: str, split: Images) -> None:
        size, labels = tuple(split.images.shape[2:]), split.labels
        if size != (self.image_size, self.image_size):
            raise ConfigError(f"dataset.image_size={self.image_size}: the {name} images are {size[0]}x{size[1]} px")
        seen = int(labels.max()) + 1
        if seen != self.classes:
            raise ConfigError(f"dataset.classes={self.classes}: the {name} images have {seen} classes")

    def take(self, split: str, index: Tensor) -> Images:
        images: Images = getattr(self, split)
        return images.take(index.to(images.labels.device))

    def evaluation_plan(self, count: int) -> list[Tensor]:
        return evaluation_batches(count, max(TEST_BATCH, self.batch_size), *self.ranks())

    def train_dataloader(self) -> Batches:
        rank, world = self.ranks()
        if self.batch_size < world:
            raise ConfigError(
                f"wrong value recipe.batch_size={self.batch_size}; allowed is {world} or more, one image a rank"
            )
        count, seed = len(self.train), self.order_seed
        return Batches(
            self.train,
            lambda number: self.training_plan(count, number),
            self.preprocess,
            epoch=lambda: self.trainer.current_epoch if self.trainer is not None else 0,
            draws=lambda number: torch.rand(count, DRAWS, generator=generator(seed, 3, number)),
            passes=self.passes_per_epoch,
            done=lambda: taken(self),
        )

    def evaluation_dataloader(self, split: str) -> Batches:
        plan = self.evaluation_plan(len(getattr(self, split)))
        return Batches(getattr(self, split), lambda number: plan, self.preprocess)
