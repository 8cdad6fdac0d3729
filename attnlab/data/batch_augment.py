"""recipe.augment.policy and recipe.augment.erasing: augmentation of batches beside that of Preprocess.

The policy changes the uint8 images before they are shifted, cropped and mirrored; a box is erased after they are
normalised. The random numbers of an image are derived from those that it has for Preprocess (attnlab.data.augment). So
they depend on the run's seed, the epoch and the image, and not on its batch, its rank or a resume, and a step that a
CUDA graph replays gets new ones.
"""

import torch
from torch import Tensor

from attnlab.data import erasing as boxes
from attnlab.data.augment import Preprocess
from attnlab.data.base import ImageData
from attnlab.data.image_policy import DRAWS, POLICIES


def augment_batches(data: ImageData, *, policy: str | None, erasing: float | None) -> None:
    """Make a data module augment its training batches; must be called before `setup`.

    policy: trivial, rand or None;  erasing: probability that a box of an image is erased, or None.
    """
    setup = data.setup

    def setup_and_augment(stage: str | None = None) -> None:
        setup(stage)
        if not isinstance(data.preprocess, BatchAugment):
            data.preprocess = BatchAugment(data.preprocess, policy=policy, erasing=erasing)

    data.setup = setup_and_augment  # type: ignore[method-assign]


class BatchAugment(Preprocess):
    """A Preprocess that also augments by a policy and erases boxes where it is given draws."""

    def __init__(self, before: Preprocess, *, policy: str | None, erasing: float | None) -> None:
        vars(self).update(vars(before))  # its statistics are those of the training images
        self.policy, self.erasing = policy, erasing

    def __call__(self, images: Tensor, draws: Tensor | None = None) -> Tensor:
        if draws is None:
            return super().__call__(images)
        count = DRAWS[self.policy] if self.policy else 0
        more = derived(draws, count + boxes.DRAWS)
        if self.policy:
            images = POLICIES[self.policy](images, more[:, :count])
        x = super().__call__(images, draws)
        return boxes.erase(x, more[:, count:], self.erasing) if self.erasing else x


def derived(draws: Tensor, count: int) -> Tensor:
    """Uniform (B, count), float32 in [0, 1), as a function of `draws` (B, D), which are uniform.

    Each image's draws, at their 24 bits, are hashed to 64 bits; number k is the hash of these plus k times an odd
    constant: SplitMix64 (Steele et al. 2014, Fast Splittable Pseudorandom Number Generators).
    """
    bits = (draws.double() * 2**24).long()
    state = torch.zeros_like(bits[:, 0])
    for column in bits.unbind(1):
        state = _mixed(state + column + GOLDEN)
    numbers = state.unsqueeze(1) + torch.arange(1, count + 1, device=draws.device) * GOLDEN
    return (_shifted(_mixed(numbers), 40)).float() / 2**24


def _signed(value: int) -> int:
    """The 64-bit pattern as a signed integer, which tensors hold."""
    return value - 2**64 if value >= 2**63 else value


GOLDEN, FIRST, SECOND = (_signed(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _shifted(x: Tensor, places: int) -> Tensor:
    """x >> places with zeros from the left."""
    return (x >> places) & (2 ** (64 - places) - 1)


def _mixed(x: Tensor) -> Tensor:
    """SplitMix64's function of 64 bits to 64 bits; products keep their lower 64 bits."""
    x = (x ^ _shifted(x, 30)) * FIRST
    x = (x ^ _shifted(x, 27)) * SECOND
    return x ^ _shifted(x, 31)
