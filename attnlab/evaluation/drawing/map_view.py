"""What is drawn of a run: a few images, the maps on them, and the predicted classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attnlab.data.memory import Images
from attnlab.evaluation.finished_run import FinishedRun
from attnlab.evaluation.maps import CAMS, all_cams, all_mask_maps, cam_layer
from attnlab.evaluation.metrics.gate_health import sum_masks
from attnlab.evaluation.suite_maps import chosen_gate


@dataclass(frozen=True)
class MapView:
    """The maps of one network on a few images.

    images: uint8;  maps: {gate's name, gradcam or hirescam: (N, H, W)};  labels: per image the class, and below it the
    predicted class if that is another one;  chosen: the gate that attnlab.judge chooses for the network, or None.
    """

    images: Images
    maps: Mapping[str, Tensor]
    labels: Sequence[str]
    chosen: str | None = None

    def main_maps(self, gates: int = 4) -> dict[str, Tensor]:
        """The maps of up to `gates` gates, evenly spaced over the depth, of the chosen gate, and the CAMs."""
        names = {*evenly_spaced(self.gates, gates), self.chosen, *CAMS}
        return {name: map_ for name, map_ in self.maps.items() if name in names}

    @property
    def gates(self) -> list[str]:
        """The gates whose masks vary over space, from the input to the output."""
        return [name for name in self.maps if name not in CAMS]


def evenly_spaced(names: Sequence[str], most: int) -> list[str]:
    """At most `most` of the names, evenly spaced, the first and the last included."""
    if len(names) <= most:
        return list(names)
    return [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)]


def view_run(run: FinishedRun, count: int) -> MapView:
    """The maps of a run on `count` test images, taken in turn from all classes."""
    images = class_by_class(run.test, count)
    view = view_network(run.net, images, run.normalised(images.images), run.class_names)
    return replace(view, chosen=chosen_gate(run))


def view_network(net: nn.Module, images: Images, x: Tensor, class_names: Sequence[str]) -> MapView:
    """The maps of a network in eval mode. x (N, 3, H, W): the images, normalised, on the network's device."""
    with torch.no_grad():
        predicted = net(x).argmax(dim=1)
    maps = all_mask_maps(net, [x]) | all_cams(net, [x], predicted, cam_layer(net, x))
    names = [f"class {name}" if name.isdigit() else name for name in class_names]
    labels = [
        names[y] if y == p else f"{names[y]}\npredicted {class_names[p]}"
        for y, p in zip(images.labels.tolist(), predicted.tolist(), strict=True)
    ]
    return MapView(images, maps, labels)


def class_by_class(images: Images, count: int) -> Images:
    """`count` of the images: the first of each class, then the second of each, and so on."""
    labels = images.labels.cpu()
    number = torch.zeros_like(labels)  # of an image within its class
    for label in labels.unique():
        mine = labels == label
        number[mine] = torch.arange(int(mine.sum()))
    chosen = torch.argsort(number * (int(labels.max()) + 1) + labels, stable=True)[:count]
    return images.take(chosen.to(images.labels.device))


def channel_masks_by_class(run: FinishedRun) -> dict[str, Tensor]:
    """{gate: mean channel mask of each class over the test images, (classes, C)}, without single-channel masks."""
    sums = sum_masks(run.net, run.batches(run.test.images), run.logits)
    labels, classes = run.test.labels.cpu(), run.classes
    found = {}
    for name, one in sums.items():
        pooled = torch.cat(one.pooled).float()
        if pooled.shape[1] > 1:
            total = torch.zeros(classes, pooled.shape[1]).index_add_(0, labels, pooled)
            found[name] = total / torch.bincount(labels, minlength=classes).clamp_min(1)[:, None]
    return found
