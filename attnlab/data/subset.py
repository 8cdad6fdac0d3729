"""A fixed, stratified part of a split, in memory as uint8: the images that a finished run is judged on."""

import torch

from attnlab.data.base import ImageData, Images
from attnlab.data.batches import stratified


def sample(data: ImageData, split: str, count: int, seed: int = 0) -> Images:
    """`count` images of `train`, `val` or `test`, each class in its proportion, not augmented.

    data: a data module that is set up. The draw depends on the split's labels and on `seed` only. A split with fewer
    images is returned complete.
    """
    labels = data.labels(split).cpu()
    index = stratified(labels, min(count, len(labels)), seed)[1] if len(labels) else torch.arange(0)
    return data.take(split, index)
