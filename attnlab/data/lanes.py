"""Which image of a set of shards comes when, so that each shard is read forwards; drawn from (seed, epoch) alone.

The shards come in an order of the epoch; their images, one shard after the other, are a sequence of n. It is cut into L
contiguous lanes, which are read side by side: image p of the epoch is the next one of lane p mod L. Within a lane,
blocks of shuffle / L images are permuted. Rank r has the images with p mod ranks = r, those of L / ranks whole lanes,
and its workers share these: nobody reads another's, and yet neither ranks nor workers change any global batch.

It is less random than the permutation of all images that a folder has (batches.training_batches): what lies in one
shard comes in one part of the epoch, mixed with L - 1 other places of the data. So images must not be sorted by class.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from attnlab.data.batches import cut, evaluation_batches, generator
from attnlab.errors import ConfigError


class Part(NamedTuple):
    """What one worker does for one batch of its rank. A block is read when its first image is wanted.

    reading: which pass through the images this is;  blocks: (lane, images in the order they lie in the shards);
    images: to be decoded;  places: theirs in the rank's batch.
    """

    reading: int
    blocks: tuple[tuple[int, list[int]], ...]
    images: list[int]
    places: list[int]
    draws: list[tuple[float, ...]]


@dataclass(frozen=True)
class Order:
    """The images of one pass, lane by lane: `emitted` (n,) as they come, `read` (n,) as they lie in the shards.

    at (n,): where in `read` each emitted one is;  end (n,): of its block;  first (L,): of each lane.
    """

    read: Tensor
    at: Tensor
    end: Tensor
    first: Tensor
    emitted: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "emitted", self.read[self.at])

    def index(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(lane, index into `emitted`) of positions of the pass."""
        lane = positions % len(self.first)
        return lane, self.first[lane] + positions // len(self.first)

    def images(self) -> Tensor:
        """The images as they come, one global batch after the other."""
        return self.emitted[self.index(torch.arange(len(self.read)))[1]]


def lane_order(shards: Tensor, lanes: int, shuffle: int, seed: int | None, epoch: int = 0) -> Order:
    """The order of the images whose shards (n,) are given, ascending. seed None: evaluation, nothing is drawn."""
    count = len(shards)
    number = torch.arange(count)
    sizes = (count - torch.arange(lanes) + lanes - 1) // lanes
    first = sizes.cumsum(0) - sizes
    if seed is None:
        return Order(number, number, number + 1, first)
    place = torch.randperm(int(shards.max()) + 1, generator=generator(seed, 2, epoch))
    read = torch.argsort(place[shards], stable=True)
    size = max(1, shuffle // lanes)
    lane = torch.arange(lanes).repeat_interleave(sizes)
    # The first blocks are cut short, each lane's otherwise: the lanes do not all read at the same step.
    within = number - first[lane] + lane * size // lanes
    block = ((number == first[lane]) | (within % size == 0)).cumsum(0) - 1
    drawn = torch.rand(count, generator=generator(seed, 4, epoch), dtype=torch.float64)
    return Order(read, torch.argsort(block + drawn), torch.bincount(block).cumsum(0)[block], first)


def positions(count: int, batch_size: int, training: bool, world: int, drop_last: bool = False) -> list[Tensor]:
    """The positions of each global batch of one pass."""
    if not count:
        return []
    if not training:
        return evaluation_batches(count, batch_size)
    return cut(torch.arange(count), batch_size, world, drop_last)


def check_ranks(lanes: int, batch_size: int, world: int) -> None:
    """Raise ConfigError where ranks cannot share lanes or batches."""
    if lanes % world:
        raise ConfigError(f"dataset.lanes={lanes}: allowed are multiples of {world}, the number of ranks")
    if batch_size < world:
        raise ConfigError(f"recipe.batch_size={batch_size}: allowed is {world} or more, one image a rank")


def parts(
    order: Order, batches: list[Tensor], draws: Tensor | None, reading: int, rank: int, world: int, workers: int
) -> Iterator[Part]:
    """`workers` parts for each of the batches (positions), which may begin anywhere in the pass. draws: by image."""
    begun: set[int] = set()  # ends of blocks, which are their names
    for batch in batches:
        mine = batch[batch % world == rank]
        lane, index = order.index(mine)
        images, ends = order.emitted[index].tolist(), order.end[index].tolist()
        jobs: list[Part] = [Part(reading, (), [], [], []) for _ in range(workers)]
        for place, (one, where, image, end) in enumerate(zip(lane.tolist(), index.tolist(), images, ends, strict=True)):
            worker = one // world % workers
            if end not in begun:
                begun.add(end)
                block = order.read[order.at[where:end].sort().values].tolist()
                jobs[worker] = jobs[worker]._replace(blocks=(*jobs[worker].blocks, (one, block)))
            jobs[worker].images.append(image)
            jobs[worker].places.append(place)
            jobs[worker].draws.append(() if draws is None else tuple(draws[image].tolist()))
        yield from jobs
