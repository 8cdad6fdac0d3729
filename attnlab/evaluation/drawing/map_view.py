"""What is drawn of a run: a few images, the maps on them, and the predicted classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from attnlab.configuration.messages import unknown_choice
from attnlab.data.decode import decode
from attnlab.data.memory import Images
from attnlab.errors import ConfigError, DataError
from attnlab.evaluation.attributions import attributions
from attnlab.evaluation.cam_names import DEFAULT_CAMS
from attnlab.evaluation.drawing.options import LookOptions
from attnlab.evaluation.finished_run import FinishedRun
from attnlab.evaluation.maps import all_mask_maps, cam_layer
from attnlab.evaluation.metrics.gate_health import sum_masks
from attnlab.evaluation.suite_maps import chosen_gate


@dataclass(frozen=True)
class MapView:
    """The maps of one network on a few images.

    images: uint8;  maps: {name of a gate or of a class activation map: (N, H, W)};  labels: per image the class or the
    file's name, and below it the predicted class if that is another one;  chosen: the gate that attnlab.judge chooses
    for the network, or None;  cams: the names among `maps` that are class activation maps.
    """

    images: Images
    maps: Mapping[str, Tensor]
    labels: Sequence[str]
    chosen: str | None = None
    cams: Sequence[str] = DEFAULT_CAMS

    def main_maps(self, gates: int = 4) -> dict[str, Tensor]:
        """The maps of up to `gates` gates, evenly spaced over the depth, of the chosen gate, and the CAMs."""
        names = {*evenly_spaced(self.gates, gates), self.chosen, *self.cams}
        return {name: map_ for name, map_ in self.maps.items() if name in names}

    @property
    def gates(self) -> list[str]:
        """The gates whose masks vary over space, from the input to the output."""
        return [name for name in self.maps if name not in self.cams]


def evenly_spaced(names: Sequence[str], most: int) -> list[str]:
    """At most `most` of the names, evenly spaced, the first and the last included."""
    if len(names) <= most:
        return list(names)
    return [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)]


def view_run(run: FinishedRun, options: LookOptions) -> MapView:
    """The maps of a run on images of one's own, or on test images, taken in turn from all classes."""
    captions = [path.name for path in options.own]
    images = own_images(options.own, run) if options.own else class_by_class(run.test, options.images)
    classes = classes_of(options.of_class, run.class_names, images)
    x = run.normalised(images.images)
    view = view_network(run.net, images, x, run.class_names, captions, classes, options.cams)
    return replace(view, chosen=chosen_gate(run))


def classes_of(of_class: str | None, names: Sequence[str], images: Images) -> Tensor | None:
    """The classes (N,) whose maps are drawn; None: the predicted ones.

    of_class: a class's name or number, `label` for each image's own, or None. Raises ConfigError for another text.
    """
    if of_class is None:
        return None
    if of_class == "label":
        return images.labels
    if of_class in names:
        number = list(names).index(of_class)
    elif of_class.isdigit() and int(of_class) < len(names):
        number = int(of_class)
    else:
        raise ConfigError(unknown_choice("class", of_class, [*names, "label"]))
    return torch.full((len(images),), number)


def own_images(paths: Sequence[Path], run: FinishedRun) -> Images:
    """The central squares of image files, at the size of the run's images; their labels, 0, say nothing.

    Raises ConfigError for a file that is no image.
    """
    size, found = int(run.config["dataset"]["image_size"]), []
    for path in paths:
        try:
            found.append(torch.from_numpy(decode(path, size).copy()).permute(2, 0, 1))
        except DataError as error:
            raise ConfigError(f"image={path}: {str(error).removeprefix('dataset.root: ')}") from error
    return Images(torch.stack(found), torch.zeros(len(found), dtype=torch.int64))


def view_network(
    net: nn.Module, images: Images, x: Tensor, class_names: Sequence[str], captions: Sequence[str] = (),
    classes: Tensor | None = None, cams: Sequence[str] = DEFAULT_CAMS,
) -> MapView:  # fmt: skip
    """The maps of a network in eval mode.

    x (N, 3, H, W): the images, normalised, on the network's device;  captions: texts for images without labels;
    classes (N,): whose CAMs are drawn, None = the predicted ones;  cams: names of attnlab.evaluation.cam_names.
    """
    with torch.no_grad():
        predicted = net(x).argmax(dim=1)
    shown = predicted if classes is None else classes.to(predicted.device)
    maps = all_mask_maps(net, [x]) | attributions(net, x, shown, cam_layer(net, x), cams)
    names = [f"class {name}" if name.isdigit() else name for name in class_names]
    texts = captions or [names[y] for y in images.labels.tolist()]
    right = [False] * len(texts) if captions else (images.labels.cpu() == predicted.cpu()).tolist()
    labels = [
        text if same else f"{text}\npredicted {class_names[p]}"
        for text, same, p in zip(texts, right, predicted.tolist(), strict=True)
    ]
    return MapView(images, maps, labels, cams=tuple(cams))


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
