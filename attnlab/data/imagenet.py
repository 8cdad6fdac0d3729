"""ImageNet (Russakovsky et al. 2015) in torchvision's folder layout, read image by image by worker processes.

Workers decode, cut and resize to uint8; flip, crop and normalisation run on the batch, on the device.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from attnlab.configuration.image_tree import classes_of, content_digest, images_of
from attnlab.configuration.validation_seed import draw_seed
from attnlab.data.augment import DRAWS, Preprocess
from attnlab.data.batches import evaluation_batches, generator, stratified, taken, training_batches
from attnlab.data.crops import Crops
from attnlab.data.decode import read_picture
from attnlab.data.duplicates import counted, in_words
from attnlab.data.left_out import left_out
from attnlab.errors import ConfigError

Item = tuple[int, tuple[float, ...]]  # image number, its draws in this epoch (empty: evaluation)


class Files(Dataset[tuple[Tensor, int, Tensor]]):
    """(image uint8 (3, S, S), label, draws) of one listed file: what `Crops` cuts out of it."""

    def __init__(
        self, listed: list[tuple[Path, int]], image_size: int, centre: float, resized_crop: Mapping[str, Any] | None
    ) -> None:
        self.paths = [str(path) for path, _ in listed]
        self.labels = [label for _, label in listed]
        self.crops = Crops(image_size, centre, resized_crop)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: Item) -> tuple[Tensor, int, Tensor]:
        number, draws = item
        pixels = self.crops(*read_picture(Path(self.paths[number])), draws)
        return pixels, self.labels[number], torch.tensor(draws[:DRAWS])


class _Order(Sampler[list[Item]]):
    """Hands a DataLoader this rank's batches; training batches carry each image's draws of the epoch."""

    def __init__(self, data: "ImageNet", count: int, training: bool) -> None:
        self.data, self.count, self.training = data, count, training

    def _plan(self, epoch: int) -> list[Tensor]:
        trainer = self.data.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        if self.training:
            size, seed, drop = self.data.batch_size, self.data.order_seed, self.data.drop_last
            return training_batches(self.count, size, seed, epoch, rank, world, drop)
        return evaluation_batches(self.count, self.data.batch_size, rank, world)

    def __len__(self) -> int:
        return len(self._plan(0)) * (self.data.passes_per_epoch if self.training else 1)

    def __iter__(self) -> Iterator[list[Item]]:
        epoch = self.data.trainer.current_epoch if self.data.trainer is not None else 0
        passes = self.data.passes_per_epoch if self.training else 1
        done = taken(self.data) if self.training else 0
        for number in range(epoch * passes, (epoch + 1) * passes):
            plan = self._plan(number)
            yield from self._pass(number, plan[done:])
            done = max(0, done - len(plan))

    def _pass(self, epoch: int, plan: list[Tensor]) -> Iterator[list[Item]]:
        draws = None
        if self.training:
            source = generator(self.data.order_seed, 3, epoch)
            draws = torch.rand(self.count, DRAWS + 1, generator=source, dtype=torch.float64)
        for index in plan:
            yield [(int(i), () if draws is None else tuple(draws[i].tolist())) for i in index]


class ImageNet(pl.LightningDataModule):
    """ROOT/train/<class>/<image> and ROOT/val/<class>/<image>; `val` is the test set of attnlab.

    classes, image_size: what the network gets;  centre: share of the short side that evaluation keeps (224/256);
    mean, sd: of x/255, for normalize=channel and mean;  workers: decoding processes of this rank;
    augment: as MemoryData's, and resized_crop {scale: [low, high], ratio: [low, high]};
    validation, batch_size, seed, order_seed, passes_per_epoch, drop_last: as MemoryData's.
    """

    def __init__(
        self,
        *,
        classes: int,
        image_size: int,
        root: str,
        mean: list[float],
        sd: list[float],
        centre: float = 224 / 256,
        workers: int = 0,
        seed: int = 0,
        mirror: bool = True,
        batch_size: int = 256,
        validation: Mapping[str, Any] | None = None,
        normalize: str = "channel",
        augment: Mapping[str, Any] | None = None,
        order_seed: int = 0,
        passes_per_epoch: int = 1,
        drop_last: bool = False,
        listing: str | None = None,
    ) -> None:
        super().__init__()
        self.passes_per_epoch, self.drop_last = passes_per_epoch, drop_last
        self.classes, self.image_size, self.root, self.centre, self.workers = classes, image_size, root, centre, workers
        del mirror  # a fact about the dataset that recipes read from the config: ${dataset.mirror}
        del listing  # which images they are, for the run's id
        self.seed, self.batch_size, self.order_seed = seed, batch_size, order_seed
        self.validation = dict(validation or {"images": 0, "order": "seed"})
        settings = dict(augment or {})
        self.resized_crop = settings.pop("resized_crop", None)
        self.preprocess = Preprocess(normalize, settings, mean=mean, sd=sd)
        self.data_hash: str | None = None
        self.names: list[str] | None = None  # as MemoryData's
        self.duplicates: dict[str, int] | None = None  # as MemoryData's, of files; None where not all of them are read
        self.notes: list[str] = []  # as MemoryData's
        self.batches_done = 0  # as MemoryData's
        self.train: Any
        self.val: Any
        self.test: Any

    def setup(self, stage: str | None = None) -> None:
        if self.data_hash is not None:
            return
        names = classes_of(self.root, "train")
        if len(names) != self.classes:
            raise ConfigError(f"dataset.classes={self.classes}: {self.root}/train has {len(names)} class folders")
        train, test = images_of(self.root, "train", names), images_of(self.root, "val", names)
        self.names = names
        self.notes += left_out(self.root, ("train", "val"), names)
        self.data_hash, contents = content_digest(self.root, train + test)
        rest, drawn = self.held_out(torch.tensor([label for _, label in train]))
        self.train, self.val, self.test = [train[i] for i in rest], [train[i] for i in drawn], test
        if contents is not None:
            splits = {"train": [contents[i] for i in rest], "val": [contents[i] for i in drawn]}
            splits["test"] = contents[len(train) :]
            self.duplicates = counted(splits)
            self.notes += in_words(self.duplicates, {name: len(part) for name, part in splits.items()})

    def held_out(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Of the training images with these labels: the numbers (rest, held out for validation), both ascending."""
        images, seed = self.validation.get("images", 0), draw_seed(self.validation, self.seed, self.order_seed)
        if seed is None:
            raise ConfigError("recipe.validation.order=file: ImageNet has no order of its own; allowed here is seed")
        if images > len(labels) - self.classes:
            raise ConfigError(
                f"recipe.validation.images={images}: allowed is 0 to {len(labels) - self.classes}, "
                f"the training set has {len(labels)} images"
            )
        return stratified(labels, images, seed)

    def files(self, name: str) -> Files:
        """The images of `train`, `val` or `test`, decoded one by one as in evaluation."""
        return Files(getattr(self, name), self.image_size, self.centre, None)

    def evaluation_dataloader(self, name: str) -> DataLoader[Any]:
        """The batches of `train`, `val` or `test`, in order, not augmented."""
        return self._loader(getattr(self, name), training=False)

    def _loader(self, listed: list[tuple[Path, int]], training: bool) -> DataLoader[Any]:
        files = Files(listed, self.image_size, self.centre, self.resized_crop if training else None)
        return DataLoader(
            files,
            batch_sampler=_Order(self, len(files), training),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.train, training=True)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        return self.evaluation_dataloader("val") if self.val else []

    def test_dataloader(self) -> DataLoader[Any]:
        return self.evaluation_dataloader("test")

    def test_order(self) -> Tensor:
        """As MemoryData's."""
        return torch.cat(_Order(self, len(self.test), training=False)._plan(0))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        images, labels, draws = batch
        return self.preprocess(images, draws if draws.numel() else None), labels
