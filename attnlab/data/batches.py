"""The order of images: validation splits, batches, and each rank's part of a batch. All depend on (seed, epoch) only.

Nothing here keeps a state, so a resumed run gets the same batches. Each image is used once an epoch on any number of
ranks.
"""

from typing import Any

import torch
from torch import Tensor


def combined(*keys: int) -> int:
    """A seed, 0 to 2**63 - 1, for a tuple of integers."""
    number = 0
    for key in keys:
        number = (number * 0x9E3779B97F4A7C15 + key + 0x632BE59BD9B4E019) % 2**63
    return number


def generator(*keys: int) -> torch.Generator:
    """A random generator for a tuple of integers, e.g. (seed, epoch)."""
    return torch.Generator().manual_seed(combined(*keys))


def stratified(labels: Tensor, images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices (rest, drawn), both ascending. `images` are drawn, each class in its proportion to within one image."""
    order = torch.randperm(len(labels), generator=generator(seed, 1))
    classes = int(labels.max()) + 1
    share = torch.empty(len(labels), dtype=torch.float64)  # position in the shuffled class, 0 to 1
    for number in range(classes):
        members = order[labels[order] == number]
        share[members] = (torch.arange(len(members)).double() + 0.5) / max(len(members), 1)
    drawn = torch.argsort(share, stable=True)[:images]
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[drawn] = True
    return (~chosen).nonzero().flatten(), chosen.nonzero().flatten()


def global_batches(order: Tensor, batch_size: int, world: int, drop_last: bool = False) -> list[Tensor]:
    """Training images in this order, cut into global batches.

    A smaller last batch is kept if each rank gets two of its images, which batch statistics need. `drop_last` drops it
    in any case. The only batch is never dropped.
    """
    batches, rest = list(order.split(batch_size)), len(order) % batch_size
    if len(batches) > 1 and 0 < rest < (batch_size if drop_last else 2 * world):
        batches.pop()
    return batches


def training_batches(
    count: int, batch_size: int, seed: int, epoch: int, rank: int = 0, world: int = 1, drop_last: bool = False
) -> list[Tensor]:
    """This rank's index batches of one epoch: its parts of the global batches of a permutation of all images."""
    order = torch.randperm(count, generator=generator(seed, 2, epoch))
    return [part.tensor_split(world)[rank] for part in global_batches(order, batch_size, world, drop_last)]


def evaluation_batches(count: int, batch_size: int, rank: int = 0, world: int = 1) -> list[Tensor]:
    """This rank's index batches, in order. Ranks have equally many; together they hold each image once, unpadded."""
    number = max(1, -(-count // batch_size))
    return [part.tensor_split(world)[rank] for part in torch.arange(count).tensor_split(number)]


def taken(data: Any) -> int:
    """`data.batches_done`, which is reset: only the epoch in which a run is resumed skips batches."""
    done, data.batches_done = data.batches_done, 0
    return done
