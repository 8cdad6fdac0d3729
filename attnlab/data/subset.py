"""A fixed, stratified part of a split, in memory as uint8: the images that a run is judged on."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from attnlab.data.batches import stratified
from attnlab.data.memory import Images


def sample(data: Any, split: str, count: int, seed: int = 0) -> Images:
    """`count` images of `train`, `val` or `test` of a data module that is set up, every class its share, not augmented.

    The same for every run that has the same split; all of the split where it has no more.
    """
    whole = getattr(data, split)
    if isinstance(whole, Images):
        chosen = stratified(whole.labels.cpu(), min(count, len(whole)), seed)[1] if len(whole) else torch.arange(0)
        return whole.take(chosen.to(whole.labels.device))
    files = data.files(split)
    labels = torch.tensor(files.labels)
    index = stratified(labels, min(count, len(labels)), seed)[1]
    with ThreadPoolExecutor() as pool:
        pixels = list(pool.map(lambda number: files[(int(number), ())][0], index))
    return Images(torch.stack(pixels), labels[index])
