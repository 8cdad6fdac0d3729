"""Training images of a dataset in memory, many batches at a time, for steps that are replayed as a CUDA graph."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from attnlab.data.augment import DRAWS
from attnlab.data.memory import Batches

Inputs = tuple[Tensor, ...]


class Chunk:
    """The batches of several training steps in a row, on the device.

    inputs: for each step, the tensors from which `make_batch(*inputs)` makes (images (B, 3, H, W), labels (B,)); their
    first dimension is B.
    """

    def __init__(self, inputs: Sequence[Inputs], make_batch: Callable[..., tuple[Tensor, Tensor]]) -> None:
        self.inputs, self.make_batch = list(inputs), make_batch

    @property
    def images(self) -> int:
        """Number of images in all batches together."""
        return sum(len(inputs[0]) for inputs in self.inputs)

    def shorten(self, steps: int) -> None:
        """Keep the first `steps` batches."""
        del self.inputs[steps:]


def images_in(batch: Any) -> int:
    """Number of images in what a training loader yields: a Chunk, or a batch (images, labels)."""
    return batch.images if isinstance(batch, Chunk) else len(batch[1])


class Chunks:
    """The batches of a `Batches` loader in the same order, `steps` at a time.

    Its length is the number of batches. Batches are not cut and augmented here: the inputs of a step are the indices of
    its images (B,) and, with augmentation, their draws (B, DRAWS), and `make_batch` does the rest within the step.
    """

    def __init__(self, batches: Batches, steps: int) -> None:
        self.batches, self.steps = batches, steps

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Chunk]:
        first, done = self.batches.epoch() * self.batches.passes, self.batches.done()
        for number in range(first, first + self.batches.passes):
            plan = self.batches.plan(number)
            yield from self._pass(number, plan[done:])
            done = max(0, done - len(plan))

    def _pass(self, number: int, plan: list[Tensor]) -> Iterator[Chunk]:
        if not plan:
            return
        device, draws = self.batches.split.images.device, self.batches.draws
        sizes, order = [len(index) for index in plan], torch.cat(plan)
        columns = [order.to(device).split(sizes)]
        if draws is not None:
            columns.append(draws(number)[order, :DRAWS].float().to(device).split(sizes))
        inputs = list(zip(*columns, strict=True))
        for start in range(0, len(inputs), self.steps):
            yield Chunk(inputs[start : start + self.steps], self._make_batch)

    def _make_batch(self, index: Tensor, draws: Tensor | None = None) -> tuple[Tensor, Tensor]:
        split = self.batches.split
        images = self.batches.preprocess(split.images.index_select(0, index), draws)
        return images, split.labels.index_select(0, index)
