"""Does the network rely on the background? Errors by group: class x whether the photograph is the class's own.

After Waterbirds (Sagawa et al. 2020, arXiv 1911.08731): with dataset.background_bias a class owns a training
photograph; test digits on those photographs show what was learnt of them. Held-out digits, so that a net which looks at
digits alone errs alike on both.
"""

import torch
from torch import Tensor


def groups(wrong: Tensor, labels: Tensor, photos: Tensor) -> dict[str, float]:
    """wrong bool (N,), labels (N,), photos (N,): that of class k is k -> errors in percent.

    own, other: on the class's own photograph, on one that another class owns, the mean over classes;
    worst: the highest of all groups, a class on either kind. Photographs that no class owns do not count.
    """
    classes = int(labels.max()) + 1
    own, owned = photos == labels, photos < classes
    errors: dict[str, list[float]] = {"own": [], "other": []}
    for label in range(classes):
        for kind, there in (("own", own), ("other", owned & ~own)):
            mine = wrong[there & (labels == label)]
            if len(mine):
                errors[kind].append(100 * float(mine.double().mean()))
    found = {kind: sum(values) / len(values) for kind, values in errors.items() if values}
    return found | {"worst": max(max(values) for values in errors.values() if values)}


def expected_worst(wrong: Tensor, labels: Tensor, photos: Tensor, draws: int = 200, seed: int = 0) -> float:
    """The worst group's error in percent if photographs meant nothing: they are shuffled within each class.

    The highest of twenty means is above the mean of all by chance alone; this is by how much.
    """
    random = torch.Generator().manual_seed(seed)
    worst = []
    for _ in range(draws):
        shuffled = photos.clone()
        for label in range(int(labels.max()) + 1):
            mine = (labels == label).nonzero().flatten()
            shuffled[mine] = photos[mine[torch.randperm(len(mine), generator=random)]]
        worst.append(groups(wrong, labels, shuffled)["worst"])
    return sum(worst) / draws
