"""Is a gate alive, and does it do anything? Its masks over many images, and the errors with it held still.

mean, sd: over all of the mask's elements and images;  sd_images: over images, the mean over elements;
entropy: of m / sum(m) within an image, over log n, n its elements: 1 = uniform;
saturated: share of elements with |dm/dz| < 0.0475, a sigmoid's beyond 0.05 and 0.95: they hardly learn any more;
class_share: of the variance over images, the part that lies between classes, mean over channels (eta squared, by chance
(classes - 1) / (images - 1); Hu et al. 2018, arXiv 1709.01507, section 7.2, show the class means);
changed, error_change: test predictions that change, percent, and the test error's change, points, with the gate's mask
replaced by its mean over other images; p: of that change, McNemar's exact test.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from attnlab.evaluation.mask_recorder import Seen, gates, record, replaced
from attnlab.tables.statistics import ALPHA, holm

FLAT = 0.0475  # s'(z) where s(z) = 0.05
STILL = 1e-3  # sd over images below which a mask is a constant, in units of the mask


@dataclass
class Sums:
    """What is added up of one gate's masks, batch by batch; sums of elements are (C, H, W)."""

    kind: str
    images: int = 0
    m: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))
    entropy: float = 0.0
    flat: float | None = 0.0
    pooled: list[Tensor] = field(default_factory=list)

    def add(self, seen: Seen, mask: nn.Module) -> None:
        m = seen.m.double()
        self.images += len(m)
        self.m, self.squares = self.m.to(m) + m.sum(dim=0), self.squares.to(m) + m.square().sum(dim=0)
        share = m.abs().flatten(1)
        share = share / share.sum(dim=1, keepdim=True).clamp_min(1e-12)
        most = torch.log(torch.tensor(float(share.shape[1])))
        self.entropy += float((torch.special.entr(share).sum(dim=1) / most).sum()) if share.shape[1] > 1 else len(m)
        if self.flat is not None:
            slope = _slope(mask, seen.z)
            self.flat = None if slope is None else self.flat + float((slope < FLAT).double().mean(dim=(1, 2, 3)).sum())
        self.pooled.append(m.mean(dim=(2, 3)).cpu())


def _slope(mask: nn.Module, z: Tensor) -> Tensor | None:
    """|dm/dz| of an elementwise mask, None for one that is not (softmax over positions)."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        m = mask(z)
        (slope,) = torch.autograd.grad(m.sum(), z)
        (corner,) = torch.autograd.grad(mask(z)[:, :, :1, :1].sum(), z)
    elsewhere = corner.clone()
    elsewhere[:, :, :1, :1] = 0
    return None if bool(elsewhere.any()) else slope.abs()


def observe(net: nn.Module, batches: Iterable[Tensor], forward: Callable[[Tensor], Any]) -> dict[str, Sums]:
    """{gate: its sums} over normalised batches; forward: how the network is run."""
    masks = gates(net)
    found: dict[str, Sums] = {}
    for x in batches:
        with record(net) as seen:
            forward(x)
        for name, one in seen.items():
            found.setdefault(name, Sums(one.kind)).add(one, masks[name])
    return found


def mean_masks(sums: Mapping[str, Sums]) -> dict[str, Tensor]:
    """{gate: its mean mask, (1, C, H, W)}."""
    return {name: (one.m / one.images)[None].float() for name, one in sums.items()}


def class_share(pooled: Tensor, labels: Tensor) -> float | None:
    """Masks averaged over positions (N, C), labels (N,) -> eta squared, mean over channels; None if nothing varies."""
    total = (pooled - pooled.mean(dim=0)).square().sum(dim=0)
    between = torch.zeros_like(total)
    for label in labels.unique():
        mine = pooled[labels == label]
        between += len(mine) * (mine.mean(dim=0) - pooled.mean(dim=0)).square()
    varies = total > 1e-6 * pooled.square().sum(dim=0)  # less is round-off
    return float((between[varies] / total[varies]).mean()) if bool(varies.any()) else None


def statistics(sums: Mapping[str, Sums], labels: Tensor) -> dict[str, dict[str, Any]]:
    """{gate: kind, mean, sd, sd_images, entropy, saturated, class_share}, of masks seen on images with these labels."""
    found = {}
    for name, one in sums.items():
        n, elements = one.images, one.m.numel()
        mean = float(one.m.sum() / (n * elements))
        variance = float(one.squares.sum() / (n * elements)) - mean**2
        by_element = (one.squares / n - (one.m / n).square()).clamp_min(0).sqrt()
        found[name] = {
            "kind": one.kind, "mean": mean, "sd": max(variance, 0.0) ** 0.5, "sd_images": float(by_element.mean()),
            "entropy": one.entropy / n, "saturated": None if one.flat is None else one.flat / n,
            "class_share": class_share(torch.cat(one.pooled), labels.cpu()),
        }  # fmt: skip
    return found


def held_still(
    net: nn.Module, batches: Sequence[Tensor], labels: Tensor, means: Mapping[str, Tensor],
    logits: Callable[[Tensor], Tensor],
) -> dict[str, dict[str, float]]:  # fmt: skip
    """{gate: changed, error_change, p}, each gate's mask replaced by its mean; `all`: of all of them at once."""
    labels = labels.cpu()
    before = torch.cat([logits(x).argmax(dim=1) for x in batches]).cpu()
    found = {}
    for name, chosen in [*((name, {name: mean}) for name, mean in means.items()), ("all", dict(means))]:
        with replaced(net, chosen):
            after = torch.cat([logits(x).argmax(dim=1) for x in batches]).cpu()
        worse, better = (
            int(((before == labels) & (after != labels)).sum()),
            int(((before != labels) & (after == labels)).sum()),
        )
        found[name] = {
            "changed": 100 * int((before != after).sum()) / len(labels),
            "error_change": 100 * (worse - better) / len(labels),
            "p": float(binomtest(worse, worse + better).pvalue) if worse + better else 1.0,
        }
    return found


def verdicts(still: Mapping[str, Mapping[str, float]], seen: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """{gate: in words}: does nothing, no effect seen, helps, hurts; p adjusted by Holm over the gates.

    does nothing: no prediction changes when it is held still, or its masks are the same for every image;
    no effect seen: predictions change, and the error does not, beyond chance.
    """
    names = list(still)
    adjusted = dict(zip(names, holm([still[name]["p"] for name in names]), strict=True))
    found = {}
    for name in names:
        constant = name in seen and seen[name]["sd_images"] < STILL * max(abs(seen[name]["mean"]), 1e-9)
        if constant or still[name]["changed"] == 0:
            found[name] = "does nothing"
        elif (adjusted[name] or 1.0) > ALPHA:
            found[name] = "no effect seen"
        else:
            found[name] = "helps" if still[name]["error_change"] > 0 else "hurts"
    return found
