"""Which image comes when: orders, splits and the share of each rank, all drawn from (seed, epoch) alone.

Nothing here has a state, so a resumed run sees the same batches, and every image is seen once an epoch however many
ranks share it.
"""

from typing import Any

import torch
from torch import Tensor


def mixed(*keys: int) -> int:
    """One integer, 0 to 2**63 - 1, for a tuple of integers."""
    number = 0
    for key in keys:
        number = (number * 0x9E3779B97F4A7C15 + key + 0x632BE59BD9B4E019) % 2**63
    return number


def generator(*keys: int) -> torch.Generator:
    """A random generator for a tuple of integers, e.g. (seed, epoch)."""
    return torch.Generator().manual_seed(mixed(*keys))


def stratified(labels: Tensor, images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices (rest, drawn), both ascending; of `images` drawn ones every class has its share, to within one image."""
    order = torch.randperm(len(labels), generator=generator(seed, 1))
    classes = int(labels.max()) + 1
    rank = torch.empty_like(order)  # how far each image comes in the drawn order of its class, as a share of the class
    share = torch.empty(len(labels), dtype=torch.float64)
    for number in range(classes):
        members = order[labels[order] == number]
        rank[members] = torch.arange(len(members))
        share[members] = (rank[members].double() + 0.5) / max(len(members), 1)
    drawn = torch.argsort(share, stable=True)[:images]
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[drawn] = True
    return (~chosen).nonzero().flatten(), chosen.nonzero().flatten()


def cut(order: Tensor, batch_size: int, world: int, drop_last: bool = False) -> list[Tensor]:
    """The global batches of training images that come in this order.

    The last, smaller batch is kept while it gives each rank two images (batch statistics need two); with `drop_last`
    it is never kept, but where it is the only one.
    """
    batches, rest = list(order.split(batch_size)), len(order) % batch_size
    if len(batches) > 1 and 0 < rest < (batch_size if drop_last else 2 * world):
        batches.pop()
    return batches


def training_batches(
    count: int, batch_size: int, seed: int, epoch: int, rank: int = 0, world: int = 1, drop_last: bool = False
) -> list[Tensor]:
    """This rank's index batches of one epoch: a permutation of all images, its global batches cut by rank."""
    order = torch.randperm(count, generator=generator(seed, 2, epoch))
    return [part.tensor_split(world)[rank] for part in cut(order, batch_size, world, drop_last)]


def evaluation_batches(count: int, batch_size: int, rank: int = 0, world: int = 1) -> list[Tensor]:
    """This rank's index batches, in order: every image once over the ranks, none padded, equally many batches."""
    number = max(1, -(-count // batch_size))
    return [part.tensor_split(world)[rank] for part in torch.arange(count).tensor_split(number)]


def taken(data: Any) -> int:
    """`data.batches_done`, for the one epoch in which a run goes on; 0 from then on."""
    done, data.batches_done = data.batches_done, 0
    return done
