"""The contract of a dataset: read this first when you write your own.

`conf/dataset/<name>.yaml` names a class by `_target_`; its other keys are the constructor's arguments. There are three
ways to write one, the shortest first:

    images that fit into memory     derive from attnlab.data.memory.MemoryData and write `read`
    encoded pictures on a disk      derive from attnlab.data.pictures.PictureData and write `read`
    anything else                   derive from ImageData and write `setup`, `take` and the two loaders
"""

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from torch import Tensor

from attnlab.configuration.validation_seed import draw_seed
from attnlab.data.augment import Preprocess
from attnlab.data.batches import evaluation_batches, stratified, training_batches
from attnlab.errors import ConfigError


@dataclass(frozen=True)
class Images:
    """Images in memory: uint8 (N, 3, H, W), labels int64 (N,), and object masks bool (N, H, W) where they are known."""

    images: Tensor
    labels: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Images":
        """The chosen images, in the order of `index`."""
        return Images(self.images[index], self.labels[index], None if self.masks is None else self.masks[index])

    def to(self, device: torch.device) -> "Images":
        """Images and labels on a device; masks stay where they are."""
        return Images(self.images.to(device), self.labels.to(device), self.masks)


class ImageData(pl.LightningDataModule):
    """Labelled images in three splits, and the batches of each.

    Constructor (attnlab.data.build passes all but the first four, which are keys of conf/dataset/):
    classes, image_size: number of classes; side of the square images in pixels;
    root: folder of the dataset, or None;  seed: of the validation draw (dataset.seed);
    batch_size: of the global batch, which the ranks share;
    validation: {images: N, order: seed | file, seed: null | run}, see attnlab.configuration.validation_seed;
    order_seed: of the order of the training images and of their augmentation (config key seed);
    passes_per_epoch: passes over the training images;  drop_last: leave out each pass's last, smaller batch.

    Set by `setup`, which may be called several times and reads only once:
    train, val, test: the splits; `val` may be empty;  data_hash: 16 hexadecimal digits that identify the images;
    preprocess: uint8 images -> the network's input;  names: of the classes, or None;
    duplicates: {"val": n, "test": n}, images that another split has too, or None where they are not counted;
    notes: lines for a person to read, e.g. about files that are not used.

    batches_done: batches of the next epoch that a resumed run has already seen. The training loader starts behind them
    and sets it to 0 (attnlab.data.batches.taken).
    """

    #: config keys that the constructor does not take: they describe the data to recipes (mirror) or in a run's id
    facts: ClassVar[tuple[str, ...]] = ("mirror",)
    #: whether the files have an official order, which validation.order=file refers to
    file_order = False
    #: whether dataset.seed decides on the images themselves, not only on which of them are held out
    seed_makes_images: ClassVar[bool] = False

    train: Sized
    val: Sized
    test: Sized
    preprocess: Preprocess

    def __init__(
        self,
        *,
        classes: int,
        image_size: int,
        root: str | None = None,
        seed: int = 0,
        batch_size: int = 128,
        validation: Mapping[str, Any] | None = None,
        order_seed: int = 0,
        passes_per_epoch: int = 1,
        drop_last: bool = False,
    ) -> None:
        super().__init__()
        self.classes, self.image_size, self.root, self.seed = classes, image_size, root, seed
        self.batch_size, self.order_seed = batch_size, order_seed
        self.passes_per_epoch, self.drop_last = passes_per_epoch, drop_last
        self.validation = dict(validation or {"images": 0, "order": "seed"})
        self.data_hash: str | None = None
        self.names: list[str] | None = None
        self.duplicates: dict[str, int] | None = None
        self.notes: list[str] = []
        self.batches_done = 0

    def setup(self, stage: str | None = None) -> None:
        """Read the dataset once, and set the attributes above. Raises ConfigError or DataError for one that does not
        fit the config, is missing or damaged."""
        raise NotImplementedError

    def labels(self, split: str) -> Tensor:
        """The labels (N,) of `train`, `val` or `test`."""
        return torch.as_tensor(getattr(self, split).labels)

    def take(self, split: str, index: Tensor) -> Images:
        """Some images of `train`, `val` or `test` in memory, cut as in evaluation, not augmented."""
        raise NotImplementedError

    def evaluation_dataloader(self, split: str) -> Any:
        """Batches of `train`, `val` or `test` in order, not augmented. A batch is (images, labels) after
        `on_after_batch_transfer`."""
        raise NotImplementedError

    def val_dataloader(self) -> Any:
        return self.evaluation_dataloader("val") if len(self.val) else []

    def test_dataloader(self) -> Any:
        return self.evaluation_dataloader("test")

    def test_order(self) -> Tensor:
        """(n,) indices of the test images in this rank's test batches, in the order of the batches."""
        return torch.cat(self.evaluation_plan(len(self.test)))

    def ranks(self) -> tuple[int, int]:
        """(this rank, number of ranks)."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def training_plan(self, count: int, epoch: int) -> list[Tensor]:
        """This rank's index batches of pass `epoch` over `count` training images."""
        return training_batches(count, self.batch_size, self.order_seed, epoch, *self.ranks(), self.drop_last)

    def evaluation_plan(self, count: int) -> list[Tensor]:
        """This rank's index batches of `count` images, in order."""
        return evaluation_batches(count, self.batch_size, *self.ranks())

    def held_out(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Indices (training, validation) of the images with these labels, both ascending.

        Raises ConfigError if fewer training images than classes remain, and for an order that the files do not have.
        """
        images, seed = self.validation.get("images", 0), draw_seed(self.validation, self.seed, self.order_seed)
        most = len(labels) - self.classes
        if images > most:
            raise ConfigError(
                f"wrong value recipe.validation.images={images}; allowed is 0 to {most}, the training set has "
                f"{len(labels)} images"
            )
        if seed is not None:
            return stratified(labels, images, seed)
        if not self.file_order:
            raise ConfigError(
                "recipe.validation.order=file: only the official CIFAR files have an order of their own; "
                "allowed here is seed"
            )
        index = torch.arange(len(labels))
        return index[: len(labels) - images], index[len(labels) - images :]
