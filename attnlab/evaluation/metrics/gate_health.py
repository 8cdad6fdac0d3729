"""Does a gate have an effect? Statistics of its masks over many images, and the test error with a constant mask.

mean, sd: over all elements of the mask and all images;  sd_images: sd over images, averaged over the elements;
entropy: of m / sum(m) within an image, divided by log n, n the number of elements; 1 = uniform;
saturated: share of elements with |dm/dz| < 0.0475, which is a sigmoid's slope at 0.05 and 0.95; they hardly learn;
class_share: the part of the variance over images that lies between classes, averaged over channels (eta squared; by
chance (classes - 1) / (images - 1); Hu et al. 2018, arXiv 1709.01507, section 7.2, show the class means);
changed: test predictions in percent that change when the gate is held still, i.e. its mask is replaced by its mean over
other images;  error_change: the change of the test error then, in points;  p: of that change, McNemar's exact test.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from attnlab.evaluation.mask_recorder import RecordedMask, mask_modules, record_masks, replace_masks
from attnlab.tables.statistics import ALPHA, holm

FLAT_SLOPE = 0.0475  # s'(z) at s(z) = 0.05, s the sigmoid
CONSTANT_SD = 1e-3  # a mask with a smaller sd over images, relative to its mean, counts as constant


@dataclass
class MaskSums:
    """Sums over images of one gate's masks, added up batch by batch; `m` and `squares` are (C, H, W).

    flat: sum of the saturated shares, None for a mask that is not elementwise;  pooled: spatial means, (B, C) each.
    """

    kind: str
    images: int = 0
    m: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))
    entropy: float = 0.0
    flat: float | None = 0.0
    pooled: list[Tensor] = field(default_factory=list)

    def add(self, recorded: RecordedMask, mask: nn.Module) -> None:
        m = recorded.m.double()
        self.images += len(m)
        self.m, self.squares = self.m.to(m) + m.sum(dim=0), self.squares.to(m) + m.square().sum(dim=0)
        share = m.abs().flatten(1)
        share = share / share.sum(dim=1, keepdim=True).clamp_min(1e-12)
        most = torch.log(torch.tensor(float(share.shape[1])))
        self.entropy += float((torch.special.entr(share).sum(dim=1) / most).sum()) if share.shape[1] > 1 else len(m)
        if self.flat is not None:
            slope = _slope(mask, recorded.z)
            flat = None if slope is None else (slope < FLAT_SLOPE).double().mean(dim=(1, 2, 3)).sum()
            self.flat = None if flat is None else self.flat + float(flat)
        self.pooled.append(m.mean(dim=(2, 3)).cpu())


def _slope(mask: nn.Module, z: Tensor) -> Tensor | None:
    """|dm/dz| of an elementwise mask; None for another one, e.g. a softmax over positions."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        m = mask(z)
        (slope,) = torch.autograd.grad(m.sum(), z)
        (corner,) = torch.autograd.grad(mask(z)[:, :, :1, :1].sum(), z)
    elsewhere = corner.clone()
    elsewhere[:, :, :1, :1] = 0
    return None if bool(elsewhere.any()) else slope.abs()


def sum_masks(net: nn.Module, batches: Iterable[Tensor], forward: Callable[[Tensor], Any]) -> dict[str, MaskSums]:
    """{gate: sums of its masks} over normalised batches; forward: runs the network on one batch."""
    modules = mask_modules(net)
    found: dict[str, MaskSums] = {}
    for x in batches:
        with record_masks(net) as masks:
            forward(x)
        for name, one in masks.items():
            found.setdefault(name, MaskSums(one.kind)).add(one, modules[name])
    return found


def mean_masks(sums: Mapping[str, MaskSums]) -> dict[str, Tensor]:
    """{gate: its mean mask, (1, C, H, W)}."""
    return {name: (one.m / one.images)[None].float() for name, one in sums.items()}


def class_share(pooled: Tensor, labels: Tensor) -> float | None:
    """Spatial means of masks (N, C), labels (N,) -> eta squared, averaged over channels; None if none varies."""
    total = (pooled - pooled.mean(dim=0)).square().sum(dim=0)
    between = torch.zeros_like(total)
    for label in labels.unique():
        mine = pooled[labels == label]
        between += len(mine) * (mine.mean(dim=0) - pooled.mean(dim=0)).square()
    varies = total > 1e-6 * pooled.square().sum(dim=0)  # less is round-off
    return float((between[varies] / total[varies]).mean()) if bool(varies.any()) else None


def mask_statistics(sums: Mapping[str, MaskSums], labels: Tensor) -> dict[str, dict[str, Any]]:
    """{gate: {kind, mean, sd, sd_images, entropy, saturated, class_share}}; labels: of the images, (N,)."""
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


def hold_still(
    net: nn.Module, batches: Sequence[Tensor], labels: Tensor, means: Mapping[str, Tensor],
    logits: Callable[[Tensor], Tensor],
) -> dict[str, dict[str, float]]:  # fmt: skip
    """{gate: {changed, error_change, p}} with the gate's mask replaced by its mean; `all`: all of them replaced."""
    labels = labels.cpu()
    before = torch.cat([logits(x).argmax(dim=1) for x in batches]).cpu()
    found = {}
    for name, chosen in [*((name, {name: mean}) for name, mean in means.items()), ("all", dict(means))]:
        with replace_masks(net, chosen):
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
    """{gate: verdict} from `hold_still` and `mask_statistics`; p is adjusted over the gates by Holm's method.

    does nothing: no prediction changes when the gate is held still, or its mask is the same for every image;
    no effect seen: predictions change, but the error change is not significant;
    helps, hurts: holding the gate still raises, lowers the error significantly.
    """
    names = list(still)
    adjusted = dict(zip(names, holm([still[name]["p"] for name in names]), strict=True))
    found = {}
    for name in names:
        constant = name in seen and seen[name]["sd_images"] < CONSTANT_SD * max(abs(seen[name]["mean"]), 1e-9)
        if constant or still[name]["changed"] == 0:
            found[name] = "does nothing"
        elif (adjusted[name] or 1.0) > ALPHA:
            found[name] = "no effect seen"
        else:
            found[name] = "helps" if still[name]["error_change"] > 0 else "hurts"
    return found
