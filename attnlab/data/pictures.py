"""Datasets that are read picture by picture: worker processes decode, cut and resize each one to uint8; flip, crop and
normalisation run on batches, on the network's device."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from attnlab.data.augment import DRAWS, Preprocess
from attnlab.data.base import ImageData, Images
from attnlab.data.batches import generator, taken
from attnlab.data.crops import Crops
from attnlab.data.duplicates import count_equal, duplicates_note

Item = tuple[int, tuple[float, ...]]  # image number, its draws of this pass (empty: evaluation)


class Pictures(Protocol):
    """Encoded pictures (JPEG, PNG, ...) of one split by number, wherever they are stored."""

    @property
    def labels(self) -> Sequence[int]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> tuple[bytes, str]:
        """(the encoded picture, its name for error messages)."""
        ...

    def take(self, index: Sequence[int]) -> Self:
        """The chosen pictures, in the order of `index`."""
        ...


@dataclass(frozen=True)
class Source:
    """What a dataset has `read`.

    data_hash: 16 hexadecimal digits for all of its pictures;  contents: a digest of each training picture and then of
    each test picture, by which copies are counted, or None where not all of them were read.
    """

    train: Pictures
    test: Pictures
    data_hash: str
    contents: Sequence[str] | None


class Decoded(Dataset[tuple[Tensor, int, Tensor]]):
    """(image uint8 (3, S, S), label, draws) of one picture: the part of it that `crops` cuts out."""

    def __init__(self, pictures: Pictures, crops: Crops) -> None:
        self.pictures, self.crops = pictures, crops

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, item: Item) -> tuple[Tensor, int, Tensor]:
        number, draws = item
        pixels = self.crops(*self.pictures[number], draws)
        return pixels, self.pictures.labels[number], torch.tensor(draws[:DRAWS])


class _Order(Sampler[list[Item]]):
    """This rank's batches for a DataLoader; training batches carry each image's draws of the pass."""

    def __init__(self, data: "PictureData", count: int, training: bool) -> None:
        self.data, self.count, self.training = data, count, training
        self.passes = data.passes_per_epoch if training else 1

    def _plan(self, number: int) -> list[Tensor]:
        return self.data.training_plan(self.count, number) if self.training else self.data.evaluation_plan(self.count)

    def __len__(self) -> int:
        return len(self._plan(0)) * self.passes

    def __iter__(self) -> Iterator[list[Item]]:
        epoch = self.data.epoch()
        done = taken(self.data) if self.training else 0
        for number in range(epoch * self.passes, (epoch + 1) * self.passes):
            plan = self._plan(number)
            yield from self._pass(number, plan[done:])
            done = max(0, done - len(plan))

    def _pass(self, number: int, plan: list[Tensor]) -> Iterator[list[Item]]:
        draws = self.data.draws(self.count, number) if self.training else None
        for index in plan:
            yield [(int(i), () if draws is None else tuple(draws[i].tolist())) for i in index]


class PictureData(ImageData):
    """A dataset of encoded pictures. A subclass only writes `read`.

    mean, sd: 3 numbers each, of x/255, for normalize=channel and mean;
    centre: share of the short side that evaluation keeps, e.g. 224/256;  workers: decoding processes of this rank;
    augment: see Preprocess, and resized_crop {scale: [low, high], ratio: [low, high]};
    the other arguments: see ImageData. The splits are `Pictures`.
    """

    train: Any
    val: Any
    test: Any

    def __init__(
        self,
        *,
        mean: list[float],
        sd: list[float],
        centre: float = 224 / 256,
        workers: int = 0,
        normalize: str = "channel",
        augment: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.centre, self.workers = centre, workers
        on_batches = dict(augment or {})
        self.resized_crop = on_batches.pop("resized_crop", None)
        self.preprocess = Preprocess(normalize, on_batches, mean=mean, sd=sd)

    def read(self) -> Source:
        """The training and the test pictures."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if self.data_hash is None:
            self._prepare()

    def _prepare(self) -> None:
        source = self.read()
        rest, drawn = (index.tolist() for index in self.held_out(torch.as_tensor(source.train.labels)))
        self.train, self.val, self.test = source.train.take(rest), source.train.take(drawn), source.test
        if source.contents is not None:
            found = source.contents
            splits = {"train": [found[i] for i in rest], "val": [found[i] for i in drawn]}
            splits["test"] = list(found[len(source.train) :])
            self.duplicates = count_equal(splits)
            self.notes += duplicates_note(self.duplicates, {name: len(part) for name, part in splits.items()})
        self.data_hash = source.data_hash

    def take(self, split: str, index: Tensor) -> Images:
        return Images(self.decode(getattr(self, split).take(index.tolist())), self.labels(split)[index])

    def decode(self, pictures: Pictures) -> Tensor:
        """uint8 (N, 3, S, S): the pictures, cut as in evaluation."""
        crops = Crops(self.image_size, self.centre, None)
        pixels = torch.empty(len(pictures), 3, self.image_size, self.image_size, dtype=torch.uint8)
        with ThreadPoolExecutor() as pool:
            for number, one in enumerate(pool.map(lambda n: crops(*pictures[n], ()), range(len(pictures)))):
                pixels[number] = one
        return pixels

    def epoch(self) -> int:
        """The trainer's epoch, from 0."""
        return self.trainer.current_epoch if self.trainer is not None else 0

    def draws(self, count: int, number: int) -> Tensor:
        """Uniform (count, DRAWS + 1) of pass `number`: those of Preprocess, and the seed of the random box."""
        source = generator(self.order_seed, 3, number)
        return torch.rand(count, DRAWS + 1, generator=source, dtype=torch.float64)

    def _loader(self, split: str, training: bool) -> Any:
        crops = Crops(self.image_size, self.centre, self.resized_crop if training else None)
        decoded = Decoded(getattr(self, split), crops)
        return DataLoader(
            decoded,
            batch_sampler=_Order(self, len(decoded), training),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> Any:
        return self._loader("train", training=True)

    def evaluation_dataloader(self, split: str) -> Any:
        return self._loader(split, training=False)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        images, labels, draws = batch
        return self.preprocess(images, draws if draws.numel() else None), labels
