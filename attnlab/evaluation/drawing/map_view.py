"""What a run shows of itself on a few images: the images, its maps of them, what it says of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attnlab.data.memory import Images
from attnlab.evaluation.finished_run import Subject
from attnlab.evaluation.maps import CAMS, cam_layer
from attnlab.evaluation.metrics.gate_health import observe
from attnlab.evaluation.suite_maps import chosen_gate, own, post_hoc


@dataclass(frozen=True)
class View:
    """images: uint8;  maps: {gate, gradcam, hirescam: (N, H, W)};  labels: the class; another that was said;
    chosen: the gate that stands for all, as attnlab.judge chooses it."""

    images: Images
    maps: Mapping[str, Tensor]
    labels: Sequence[str]
    chosen: str | None = None

    def few(self, gates: int = 4) -> dict[str, Tensor]:
        """The maps of so many gates, from the shallowest to the deepest, the chosen one besides, and the CAMs."""
        shown = {*spread(self.gates, gates), self.chosen, *CAMS}
        return {name: map_ for name, map_ in self.maps.items() if name in shown}

    @property
    def gates(self) -> list[str]:
        """The gates whose masks vary over space."""
        return [name for name in self.maps if name not in CAMS]


def spread(names: Sequence[str], most: int) -> list[str]:
    """At most so many of the names, evenly from the first to the last, the last always."""
    if len(names) <= most:
        return list(names)
    return [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)]


def view(subject: Subject, count: int) -> View:
    """The view of `count` test images, of as many classes as there are."""
    images = of_all_classes(subject.test, count)
    seen = look_at(subject.net, images, subject.normalised(images.images), subject.class_names)
    return replace(seen, chosen=chosen_gate(subject))


def look_at(net: nn.Module, images: Images, x: Tensor, class_names: Sequence[str]) -> View:
    """What a network, in eval mode, shows of itself on few images; x: these, normalised, where the network is."""
    with torch.no_grad():
        said = net(x).argmax(dim=1)
    maps = own(net, [x]) | post_hoc(net, [x], said, cam_layer(net, x))
    names = [f"class {name}" if name.isdigit() else name for name in class_names]
    labels = [
        names[y] if y == p else f"{names[y]}\nsays {class_names[p]}"
        for y, p in zip(images.labels.tolist(), said.tolist(), strict=True)
    ]
    return View(images, maps, labels)


def of_all_classes(images: Images, count: int) -> Images:
    """`count` of the images: the first of each class, then the second of each, and so on."""
    labels = images.labels.cpu()
    turn = torch.zeros_like(labels)
    for label in labels.unique():
        mine = labels == label
        turn[mine] = torch.arange(int(mine.sum()))
    chosen = torch.argsort(turn * (int(labels.max()) + 1) + labels, stable=True)[:count]
    return images.take(chosen.to(images.labels.device))


def channel_masks(subject: Subject) -> dict[str, Tensor]:
    """{gate: the mean mask of each class, (classes, C)} of the gates that tell channels apart."""
    sums = observe(subject.net, subject.batches(subject.test.images), subject.logits)
    labels, classes = subject.test.labels.cpu(), subject.classes
    found = {}
    for name, one in sums.items():
        pooled = torch.cat(one.pooled).float()
        if pooled.shape[1] > 1:
            total = torch.zeros(classes, pooled.shape[1]).index_add_(0, labels, pooled)
            found[name] = total / torch.bincount(labels, minlength=classes).clamp_min(1)[:, None]
    return found
