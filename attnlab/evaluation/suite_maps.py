"""The parts of a judgement that are about maps: localisation, faithfulness, sanity.

Each takes a Subject and its control, the same run without attention where there is one, and gives scores. `mask` is the
network's own gate that lies best on the objects of *other* images; where no masks are known, its deepest spatial gate.
Shares are in percent. CAMs are of the class that the network gives an image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.data.batches import generator, stratified
from attnlab.data.memory import Images
from attnlab.errors import ConfigError
from attnlab.evaluation.finished_run import BATCH, Subject
from attnlab.evaluation.maps import cam_layer, cams, mask_maps
from attnlab.evaluation.metrics import localisation, sanity_checks
from attnlab.evaluation.metrics.faithfulness import deletion, insertion, road
from attnlab.evaluation.score import Part, score

LOCALISATION = ("pointing", "energy", "average_precision", "iou")
DRAWS = 3  # of random weights
FEW = 200  # images for what takes many forward passes each


def post_hoc(net: nn.Module, batches: Sequence[Tensor], classes: Tensor, layer: str) -> dict[str, Tensor]:
    """{gradcam, hirescam: (N, H, W)} of normalised batches, on the CPU."""
    found: dict[str, list[Tensor]] = {}
    start = 0
    for x in batches:
        for name, maps in cams(net, x, classes[start : start + len(x)], layer).items():
            found.setdefault(name, []).append(maps.cpu())
        start += len(x)
    return {name: torch.cat(parts) for name, parts in found.items()}


def own(net: nn.Module, batches: Sequence[Tensor]) -> dict[str, Tensor]:
    """{gate: (N, H, W)} of the network's masks that vary over space, on the CPU."""
    found: dict[str, list[Tensor]] = {}
    for x in batches:
        for name, maps in mask_maps(net, x).items():
            found.setdefault(name, []).append(maps.cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}


def judge_localisation(s: Subject, control: Subject | None) -> Part:
    """Where masks and CAMs lie against the object's mask; the gate and the threshold are chosen on other images."""
    test, other = _with_objects(s.test), _with_objects(s.other)
    if test is None:
        text = f"localisation: of the {len(s.test)} test images none has a mask, or just one"
        raise ConfigError(f"{text}; cluttered_digits has masks, a folder those in masks/test/")
    if other is None:  # no masks but those of the test images: one half chooses, the other is judged
        other, test = test.take(torch.arange(0, len(test), 2)), test.take(torch.arange(1, len(test), 2))
    truth, known = test.masks, other.masks
    assert isinstance(truth, Tensor)
    assert isinstance(known, Tensor)
    mine, theirs = s.batches(test.images), s.batches(other.images)
    layer = cam_layer(s.net, mine[0])
    maps = own(s.net, mine) | post_hoc(s.net, mine, s.all_logits(test.images).argmax(dim=1), layer)
    seen = own(s.net, theirs) | post_hoc(s.net, theirs, s.all_logits(other.images).argmax(dim=1), layer)
    chance = localisation.chance(truth)
    random = torch.rand(truth.shape, generator=generator(0, 9))
    chance["iou_otsu"] = localisation.iou(random, truth, localisation.otsu(random))
    gates = [name for name in maps if name not in ("gradcam", "hirescam")]
    chosen = _best({name: seen[name] for name in gates}, known)
    blind = known.double().mean(dim=0).expand(len(truth), -1, -1)
    every = {name: _against(maps[name], truth, seen[name], known) for name in maps}
    every["blind"] = _against(blind, truth, known.double().mean(dim=0).expand(len(known), -1, -1), known)
    scores = {}
    for name, key in (("mask", chosen), ("gradcam", "gradcam"), ("hirescam", "hirescam")):
        if key is not None:
            for metric, values in every[key].items():
                scores[f"{metric}/{name}"] = score(values, chance[metric], "a random map", 100)
    every["shuffled"] = _against(maps["gradcam"].roll(len(truth) // 2, 0), truth, seen["gradcam"], known)
    for name in ("blind", "shuffled"):
        for metric in LOCALISATION:
            scores[f"{metric}/{name}"] = score(every[name][metric], chance[metric], "a random map", 100)
    if control is not None:
        for metric, values in _cam_of(control, test, other).items():
            scores[f"{metric}/control"] = score(values, chance[metric], "a random map", 100)
    each = {name: {m: round(100 * float(v.mean()), 4) for m, v in found.items()} for name, found in every.items()}
    details = {"images": len(test), "of": len(s.test), "gate": chosen, "gates": each, "cam_layer": layer}
    return {"scores": scores, "details": details | {"control": control.run if control else None}}


def _cam_of(s: Subject, test: Images, other: Images) -> dict[str, Tensor]:
    """The localisation scores of a subject's Grad-CAM on other people's images; its threshold from `other`."""
    found = []
    for images in (test, other):
        batches, said = s.batches(images.images), s.all_logits(images.images).argmax(dim=1)
        found.append(post_hoc(s.net, batches, said, cam_layer(s.net, batches[0]))["gradcam"])
    assert test.masks is not None
    assert other.masks is not None
    scores = _against(found[0], test.masks, found[1], other.masks)
    return {metric: scores[metric] for metric in LOCALISATION}


def _best(maps: Mapping[str, Tensor], truth: Tensor) -> str | None:
    """The map that lies best on the objects: the highest average precision."""
    precision = {name: float(localisation.average_precision(found, truth).mean()) for name, found in maps.items()}
    return max(precision, key=lambda name: precision[name], default=None)


def chosen_gate(s: Subject) -> str | None:
    """The gate that stands for the network's own maps; None when it has no mask that varies over space."""
    other = _with_objects(s.other)
    if other is not None:
        return _best(own(s.net, s.batches(other.images)), other.masks)
    return next(reversed(own(s.net, s.batches(s.test.images[:2]))), None)


def _with_objects(images: Any) -> Any:
    if images.masks is None:
        return None
    on = images.masks.flatten(1)
    index = (on.any(dim=1) & ~on.all(dim=1)).nonzero().flatten()
    return images.take(index.to(images.labels.device)) if len(index) > 1 else None


def _against(maps: Tensor, truth: Tensor, seen: Tensor, known: Tensor) -> dict[str, Tensor]:
    found = {metric: getattr(localisation, metric)(maps, truth) for metric in LOCALISATION[:3]}
    found["iou"] = localisation.iou(maps, truth, localisation.best_threshold(seen, known))
    return found | {"iou_otsu": localisation.iou(maps, truth, localisation.otsu(maps))}


def few(images: Images) -> Images:
    """FEW of the images, every class its share: a test set may be sorted by class."""
    chosen = stratified(images.labels.cpu(), min(FEW, len(images)), 0)[1]
    return images.take(chosen.to(images.labels.device))


def judge_faithfulness(s: Subject, control: Subject | None) -> Part:
    """Whether the pixels that a map marks are those the network needs; few images, each seen many times."""
    images = few(s.test)
    batches = s.batches(images.images)
    x, classes = torch.cat(batches), s.all_logits(images.images).argmax(dim=1)
    maps = post_hoc(s.net, batches, classes, cam_layer(s.net, x))
    if (gate := chosen_gate(s)) is not None:
        maps["mask"] = own(s.net, batches)[gate]
    maps["random"] = torch.rand(maps["gradcam"].shape, generator=torch.Generator().manual_seed(0))

    def predict(x: Tensor) -> Tensor:
        return torch.cat([s.logits(part).softmax(dim=1) for part in x.split(BATCH)])

    found: dict[str, dict[str, Tensor]] = {}
    for name, each in maps.items():
        if name == "hirescam" and torch.allclose(each, maps["gradcam"], rtol=1e-4, atol=1e-6):
            found[name] = found["gradcam"]  # one linear layer behind a global average: they are the same
            continue
        each = each.to(s.device)
        removed = road(predict, x, each, classes)
        found[name] = {
            "insertion": insertion(predict, x, each, classes),
            "deletion": deletion(predict, x, each, classes),
            "road": removed["lerf"] - removed["morf"],
        }
    random = found.pop("random")
    scores = {
        f"{metric}/{name}": score(values, random[metric], "a random map")
        for name, each in found.items()
        for metric, values in each.items()
    }
    return {"scores": scores, "details": {"images": len(images), "gate": gate}}


def judge_sanity(s: Subject, control: Subject | None) -> Part:
    """Whether the maps go when the layers are randomised."""
    images = few(s.test).images
    batches, classes = s.batches(images), s.all_logits(images).argmax(dim=1)
    layer = cam_layer(s.net, batches[0])

    def maps(net: nn.Module) -> dict[str, Tensor]:
        return {"gradcam": post_hoc(net, batches, classes, layer)["gradcam"]} | own(net, batches)

    draws = [sanity_checks.sanity(s.net, s.fresh(number), maps, seed=number) for number in range(DRAWS)]
    found = {name: torch.tensor([draw[name] for draw in draws]) for name in draws[0]}  # (DRAWS, steps)
    gate = chosen_gate(s)
    named = {"gradcam": "gradcam"} | ({"mask": gate} if gate is not None else {})
    scores = {f"sanity/{name}": score(found[key][:, -1], 0.0, "maps that are gone") for name, key in named.items()}
    means = {name: [round(value, 4) for value in values.mean(dim=0).tolist()] for name, values in found.items()}
    survived = [name for name, values in means.items() if sanity_checks.survives(values)]
    details = {"images": len(images), "draws": DRAWS, "correlations": means, "survived": survived}
    return {"scores": scores, "details": details}
