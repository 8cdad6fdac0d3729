"""Images that are in two splits, so that a network is tested or chosen on images that it was trained on."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor


def count_copies(splits: Mapping[str, Tensor]) -> dict[str, int]:
    """Exact copies: {"val": validation images that are also in train, "test": test images that are in train or val}.

    splits: uint8 (N, 3, H, W) of train, val and test. Labels are not compared. Sums of the pixels find candidates
    quickly; a digest of all pixels decides.
    """
    sums = {name: _sums(images) for name, images in splits.items()}
    candidates = {}
    for name, images in splits.items():
        others = np.concatenate([found for other, found in sums.items() if other != name])
        chosen = np.isin(sums[name], others).nonzero()[0]
        candidates[name] = [
            hashlib.blake2b(images[int(i)].numpy().tobytes(), digest_size=16).hexdigest() for i in chosen
        ]
    return count_equal(candidates)


def count_equal(contents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The same for images given by their digests."""
    train, val = set(contents["train"]), set(contents["val"])
    return {
        "val": sum(found in train for found in contents["val"]),
        "test": sum(found in train or found in val for found in contents["test"]),
    }


def _sums(images: Tensor) -> np.ndarray:
    """(N,) sums of the pixels, eight at a time as 64-bit integers. Up to seven pixels at the end are ignored."""
    pixels = images.flatten(1).numpy()
    words = np.ascontiguousarray(pixels[:, : pixels.shape[1] // 8 * 8]).view(np.uint64)
    found: np.ndarray = words.sum(axis=1)
    return found


def duplicates_note(duplicates: Mapping[str, int], images: Mapping[str, int]) -> list[str]:
    """[a line for the user], or [] if there are no copies. images: how many each split has."""
    where = {"test": "test images are training or validation images", "val": "validation images are training images"}
    found = [f"{duplicates[name]:,} of {images[name]:,} {text}" for name, text in where.items() if duplicates[name]]
    return [f"the splits share images, exact copies: {', '.join(found)}"] if found else []
