"""Does the network rely on the background? Errors by group: class x whether the photograph is the class's own.

After Waterbirds (Sagawa et al. 2020, arXiv 1911.08731). With dataset.background_bias, digits of class k stand on
training photograph k more often than on others. Test digits on training photographs show what the network learnt from
the photographs: a network that uses only the digits has the same error on all of them.
"""

import torch
from torch import Tensor


def group_errors(wrong: Tensor, labels: Tensor, photos: Tensor) -> dict[str, float]:
    """wrong bool (N,), labels (N,), photos (N,) -> errors in percent; photograph k is class k's own.

    own, other: on the class's own photograph, and on another class's, averaged over the classes;
    worst: the highest error of all groups, a group being a class on its own or on other photographs. Images on
    photographs that belong to no class are left out.
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
    """The expected error in percent of the worst group if the photographs had no effect: mean over random shuffles.

    Photographs are shuffled within each class. The highest of twenty group errors exceeds the mean error by chance;
    this is the reference value that accounts for it.
    """
    random = torch.Generator().manual_seed(seed)
    worst = []
    for _ in range(draws):
        shuffled = photos.clone()
        for label in range(int(labels.max()) + 1):
            mine = (labels == label).nonzero().flatten()
            shuffled[mine] = photos[mine[torch.randperm(len(mine), generator=random)]]
        worst.append(group_errors(wrong, labels, shuffled)["worst"])
    return sum(worst) / draws
