"""Small datasets: whole in memory as uint8, batched straight from the tensor, augmented on the batch."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from attnlab.configuration.validation_seed import draw_seed
from attnlab.data.augment import DRAWS, Preprocess
from attnlab.data.batches import evaluation_batches, generator, stratified, taken, training_batches
from attnlab.data.duplicates import across, in_words
from attnlab.errors import ConfigError


@dataclass(frozen=True)
class Images:
    """images uint8 (N, 3, H, W), labels int64 (N,), masks bool (N, H, W) where the object's pixels are known."""

    images: Tensor
    labels: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Images":
        """The chosen images, in the order of `index`."""
        return Images(self.images[index], self.labels[index], None if self.masks is None else self.masks[index])

    def to(self, device: torch.device) -> "Images":
        """Images and labels on a device."""
        return Images(self.images.to(device), self.labels.to(device), self.masks)


def _digests(split: Images) -> np.ndarray:
    """One digest an image, label included: (N,) of 16 bytes."""
    rows, labels = split.images.flatten(1).numpy(), split.labels.numpy()
    found = [
        hashlib.blake2b(row.tobytes(), digest_size=16, key=bytes([y % 256, y // 256])).digest()
        for row, y in zip(rows, labels, strict=True)
    ]
    return np.array(found, dtype="S16").view("V16")


def canonical(split: Images) -> Images:
    """The same images in an order of their own (class, then digest), whatever files they came in."""
    digests = [item.tobytes() for item in _digests(split)]
    order = sorted(range(len(split)), key=lambda i: (int(split.labels[i]), digests[i]))
    return split.take(torch.tensor(order))


def content_hash(*splits: Images) -> str:
    """16 hexadecimal digits for the images and labels of some splits, whatever their order inside a split."""
    total = hashlib.sha256()
    for split in splits:
        total.update(b"".join(sorted(item.tobytes() for item in _digests(split))) + b"|")
    return total.hexdigest()[:16]


class Batches:
    """An iterable of (images float32 (B, 3, H, W), labels (B,)); `epoch` is asked at its start.

    passes: over the images, one after the other, each in an order and with augmentation of its own;
    done: asked at its start as well: batches of this epoch that a resumed run has behind it.
    """

    def __init__(
        self,
        split: Images,
        plan: Callable[[int], list[Tensor]],
        preprocess: Preprocess,
        epoch: Callable[[], int] = lambda: 0,
        augment_seed: int | None = None,
        passes: int = 1,
        done: Callable[[], int] = lambda: 0,
    ) -> None:
        self.passes, self.done = passes, done
        self.split = split
        self.plan = plan
        self.preprocess = preprocess
        self.epoch = epoch
        self.augment_seed = augment_seed

    def __len__(self) -> int:
        return self.passes * len(self.plan(0)) if len(self.split) else 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        first, done = self.epoch() * self.passes, self.done()
        for number in range(first, first + self.passes):
            plan = self.plan(number)
            yield from self._pass(number, plan[done:])
            done = max(0, done - len(plan))

    def _pass(self, epoch: int, plan: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        if not plan:
            return
        split, device = self.split, self.split.images.device
        order = torch.cat(plan)
        draws: Sequence[Tensor | None] = [None] * len(plan)
        if self.augment_seed is not None:
            drawn = torch.rand(len(split), DRAWS, generator=generator(self.augment_seed, 3, epoch))
            draws = drawn[order].to(device).split([len(index) for index in plan])
        # One copy an epoch: each would make the host wait for the GPU.
        for index, draw in zip(order.to(device).split([len(index) for index in plan]), draws, strict=True):
            yield self.preprocess(split.images.index_select(0, index), draw), split.labels.index_select(0, index)


class MemoryData(pl.LightningDataModule):
    """A dataset that fits into memory. A subclass says how to `read` it; everything else is here.

    classes, image_size: what the images must have;  seed: of the validation draw (config key dataset.seed);
    batch_size: the global batch, split over all ranks;
    validation: {images: N, order: seed | file, seed: null | run}, see draw_seed;
    normalize, augment: see Preprocess;  order_seed: of order and augmentation (config key seed);
    passes_per_epoch: over the training images;  drop_last: whether each pass leaves out its last, smaller batch;
    root, cache: folders of the dataset and of decoded copies, or None.
    Attributes after `setup`: train, val, test (Images), data_hash, preprocess; names of the classes, where it has any;
    duplicates: images that are in two splits, see attnlab.data.duplicates;  notes: lines that a person should read.
    batches_done: of the epoch that is to come first, by a run that goes on within one; for one iteration.
    """

    file_order = False  # whether the files have an official order, so that validation.order=file means something
    seed_makes_images = False  # whether dataset.seed decides on the images themselves, not only on those held out

    def __init__(
        self,
        *,
        classes: int,
        image_size: int,
        root: str | None = None,
        cache: str | None = None,
        seed: int = 0,
        mirror: bool = True,
        batch_size: int = 128,
        validation: Mapping[str, Any] | None = None,
        normalize: str = "channel",
        augment: Mapping[str, Any] | None = None,
        order_seed: int = 0,
        passes_per_epoch: int = 1,
        drop_last: bool = False,
    ) -> None:
        super().__init__()
        self.passes_per_epoch, self.drop_last = passes_per_epoch, drop_last
        del mirror  # a fact about the dataset that recipes read from the config: ${dataset.mirror}
        self.classes, self.image_size = classes, image_size
        self.root, self.cache, self.seed = root, cache, seed
        self.batch_size, self.order_seed = batch_size, order_seed
        self.validation = dict(validation or {"images": 0, "order": "seed"})
        self.normalize, self.augment = normalize, augment
        self.data_hash: str | None = None
        self.names: list[str] | None = None
        self.duplicates: dict[str, int] | None = None
        self.notes: list[str] = []
        self.batches_done = 0
        self.train: Images
        self.val: Images
        self.test: Images

    def read(self) -> tuple[Images, Images]:
        """(training, test) images. The training images are in file order only when `file_order` is True."""
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
        self.train, self.val = self._split(train)
        self.test = test
        splits = {"train": self.train, "val": self.val, "test": self.test}
        self.duplicates = across({split: part.images for split, part in splits.items()})
        self.notes += in_words(self.duplicates, {split: len(part) for split, part in splits.items()})
        self.preprocess = Preprocess(self.normalize, self.augment, self.train.images)

    def _check(self, name: str, split: Images) -> None:
        size, labels = tuple(split.images.shape[2:]), split.labels
        if size != (self.image_size, self.image_size):
            raise ConfigError(f"dataset.image_size={self.image_size}: the {name} images are {size[0]}x{size[1]} px")
        seen = int(labels.max()) + 1
        if seen != self.classes:
            raise ConfigError(f"dataset.classes={self.classes}: the {name} images have {seen} classes")

    def _split(self, train: Images) -> tuple[Images, Images]:
        images, seed = self.validation.get("images", 0), draw_seed(self.validation, self.seed, self.order_seed)
        if images > len(train) - self.classes:
            raise ConfigError(
                f"recipe.validation.images={images}: allowed is 0 to {len(train) - self.classes}, "
                f"the training set has {len(train)} images"
            )
        if seed is None:
            if not self.file_order:
                raise ConfigError(
                    "recipe.validation.order=file: only the official CIFAR files have an order of their own "
                    "(a tree is sorted by class); allowed here is seed"
                )
            index = torch.arange(len(train))
            return train.take(index[: len(train) - images]), train.take(index[len(train) - images :])
        rest, drawn = stratified(train.labels, images, seed)
        return train.take(rest), train.take(drawn)

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def train_dataloader(self) -> Batches:
        rank, world = self._ranks()
        if self.batch_size < world:
            raise ConfigError(f"recipe.batch_size={self.batch_size}: allowed is {world} or more, one image a rank")
        count, size, seed, drop = len(self.train), self.batch_size, self.order_seed, self.drop_last
        return Batches(
            self.train,
            lambda epoch: training_batches(count, size, seed, epoch, rank, world, drop),
            self.preprocess,
            epoch=lambda: self.trainer.current_epoch if self.trainer is not None else 0,
            augment_seed=seed,
            passes=self.passes_per_epoch,
            done=lambda: taken(self),
        )

    def evaluation_dataloader(self, name: str) -> Batches:
        """The batches of `train`, `val` or `test`, in order, not augmented."""
        split: Images = getattr(self, name)
        plan = self._evaluation_plan(len(split))
        return Batches(split, lambda epoch: plan, self.preprocess)

    def _evaluation_plan(self, count: int) -> list[Tensor]:
        return evaluation_batches(count, max(512, self.batch_size), *self._ranks())

    def test_order(self) -> Tensor:
        """(n,) numbers of the test images that this rank's test batches hold, as they come."""
        return torch.cat(self._evaluation_plan(len(self.test)))

    def val_dataloader(self) -> Batches | list[Any]:
        return self.evaluation_dataloader("val") if len(self.val) else []

    def test_dataloader(self) -> Batches:
        return self.evaluation_dataloader("test")
