"""The parts of a judgement about maps: localisation, faithfulness, sanity.

Each function takes a run and its control (the same run without attention, or None), and returns scores. The score of
`mask` is that of one of the network's own gates: the gate with the best average precision on the *selection* images,
or the deepest spatial gate if no object masks are known. Shares are in percent. CAMs are of the predicted class.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.data.batches import generator, stratified
from attnlab.data.memory import Images
from attnlab.errors import ConfigError
from attnlab.evaluation.finished_run import BATCH, FinishedRun
from attnlab.evaluation.maps import CAMS, all_cams, all_mask_maps, cam_layer
from attnlab.evaluation.metrics import localisation, sanity_checks
from attnlab.evaluation.metrics.faithfulness import deletion, insertion, road
from attnlab.evaluation.score import Part, make_score

LOCALISATION = ("pointing", "energy", "average_precision", "iou")
DRAWS = 3  # random initialisations of the sanity check
FEW = 200  # images for the metrics that need many forward passes per image


def judge_localisation(run: FinishedRun, control: FinishedRun | None) -> Part:
    """How well masks and CAMs lie on the objects; gate and IoU threshold are chosen on the selection images."""
    test, selection = _with_objects(run.test), _with_objects(run.selection)
    if test is None:
        text = f"localisation: fewer than two of the {len(run.test)} test images have a mask with an object"
        raise ConfigError(f"{text}; cluttered_digits has masks, an image folder may have them in masks/test/")
    if selection is None:  # only the test images have masks: one half is used for the choices, the other is judged
        selection, test = test.take(torch.arange(0, len(test), 2)), test.take(torch.arange(1, len(test), 2))
    objects, selection_objects = test.masks, selection.masks
    assert isinstance(objects, Tensor)
    assert isinstance(selection_objects, Tensor)
    layer = cam_layer(run.net, run.batches(test.images)[0])
    maps, selection_maps = _all_maps(run, test, layer), _all_maps(run, selection, layer)
    chance = localisation.chance(objects)
    random = torch.rand(objects.shape, generator=generator(0, 9))
    chance["iou_otsu"] = localisation.iou(random, objects, localisation.otsu(random))
    chosen = _best({name: m for name, m in selection_maps.items() if name not in CAMS}, selection_objects)
    mean_object = selection_objects.double().mean(dim=0)
    maps["blind"] = mean_object.expand(len(objects), -1, -1)
    selection_maps["blind"] = mean_object.expand(len(selection_objects), -1, -1)
    every = {name: _scores(maps[name], objects, selection_maps[name], selection_objects) for name in maps}
    scores = {}
    for name, key in (("mask", chosen), ("gradcam", "gradcam"), ("hirescam", "hirescam")):
        if key is not None:
            for metric, values in every[key].items():
                scores[f"{metric}/{name}"] = make_score(values, chance[metric], "a random map", 100)
    shuffled = maps["gradcam"].roll(len(objects) // 2, 0)  # each image gets the map of another image
    every["shuffled"] = _scores(shuffled, objects, selection_maps["gradcam"], selection_objects)
    for name in ("blind", "shuffled"):
        for metric in LOCALISATION:
            scores[f"{metric}/{name}"] = make_score(every[name][metric], chance[metric], "a random map", 100)
    if control is not None:
        for metric, values in _gradcam_scores(control, test, selection).items():
            scores[f"{metric}/control"] = make_score(values, chance[metric], "a random map", 100)
    each = {name: {m: round(100 * float(v.mean()), 4) for m, v in found.items()} for name, found in every.items()}
    details = {"images": len(test), "of": len(run.test), "gate": chosen, "gates": each, "cam_layer": layer}
    return {"scores": scores, "details": details | {"control": control.id if control else None}}


def _all_maps(run: FinishedRun, images: Images, layer: str) -> dict[str, Tensor]:
    """{gate or CAM: (N, H, W)}, the CAMs of the predicted classes."""
    batches, predicted = run.batches(images.images), run.all_logits(images.images).argmax(dim=1)
    return all_mask_maps(run.net, batches) | all_cams(run.net, batches, predicted, layer)


def _gradcam_scores(run: FinishedRun, test: Images, selection: Images) -> dict[str, Tensor]:
    """{metric of LOCALISATION: (N,)} of a run's Grad-CAM on the test images; its threshold is from `selection`."""
    found = []
    for images in (test, selection):
        batches, predicted = run.batches(images.images), run.all_logits(images.images).argmax(dim=1)
        found.append(all_cams(run.net, batches, predicted, cam_layer(run.net, batches[0]))["gradcam"])
    assert test.masks is not None
    assert selection.masks is not None
    scores = _scores(found[0], test.masks, found[1], selection.masks)
    return {metric: scores[metric] for metric in LOCALISATION}


def _scores(maps: Tensor, objects: Tensor, selection_maps: Tensor, selection_objects: Tensor) -> dict[str, Tensor]:
    """{metric: (N,)}; the threshold of `iou` is the best one on the selection images."""
    found = {metric: getattr(localisation, metric)(maps, objects) for metric in LOCALISATION[:3]}
    found["iou"] = localisation.iou(maps, objects, localisation.best_threshold(selection_maps, selection_objects))
    return found | {"iou_otsu": localisation.iou(maps, objects, localisation.otsu(maps))}


def _best(maps: Mapping[str, Tensor], objects: Tensor) -> str | None:
    """The name of the map with the highest mean average precision; None if there is no map."""
    precision = {name: float(localisation.average_precision(m, objects).mean()) for name, m in maps.items()}
    return max(precision, key=lambda name: precision[name], default=None)


def chosen_gate(run: FinishedRun) -> str | None:
    """The gate that stands for the network's own maps; None if no mask varies over space."""
    selection = _with_objects(run.selection)
    if selection is not None:
        return _best(all_mask_maps(run.net, run.batches(selection.images)), selection.masks)
    return next(reversed(all_mask_maps(run.net, run.batches(run.test.images[:2]))), None)


def _with_objects(images: Images) -> Any:
    """The images whose mask has both object and background pixels; None if fewer than two have."""
    if images.masks is None:
        return None
    on = images.masks.flatten(1)
    index = (on.any(dim=1) & ~on.all(dim=1)).nonzero().flatten()
    return images.take(index.to(images.labels.device)) if len(index) > 1 else None


def few(images: Images) -> Images:
    """FEW of the images, drawn evenly over the classes, since a test set may be sorted by class."""
    chosen = stratified(images.labels.cpu(), min(FEW, len(images)), 0)[1]
    return images.take(chosen.to(images.labels.device))


def judge_faithfulness(run: FinishedRun, control: FinishedRun | None) -> Part:
    """Whether the prediction depends on the pixels that a map marks; on FEW images, each run many times."""
    images = few(run.test)
    batches = run.batches(images.images)
    x, classes = torch.cat(batches), run.all_logits(images.images).argmax(dim=1)
    maps = all_cams(run.net, batches, classes, cam_layer(run.net, x))
    if (gate := chosen_gate(run)) is not None:
        maps["mask"] = all_mask_maps(run.net, batches)[gate]
    maps["random"] = torch.rand(maps["gradcam"].shape, generator=torch.Generator().manual_seed(0))

    def predict(x: Tensor) -> Tensor:
        return torch.cat([run.logits(part).softmax(dim=1) for part in x.split(BATCH)])

    found: dict[str, dict[str, Tensor]] = {}
    for name, each in maps.items():
        if name == "hirescam" and torch.allclose(each, maps["gradcam"], rtol=1e-4, atol=1e-6):
            found[name] = found["gradcam"]  # equal if only global average pooling and one linear layer follow
            continue
        each = each.to(run.device)
        removed = road(predict, x, each, classes)
        found[name] = {
            "insertion": insertion(predict, x, each, classes),
            "deletion": deletion(predict, x, each, classes),
            "road": removed["lerf"] - removed["morf"],
        }
    random = found.pop("random")
    scores = {
        f"{metric}/{name}": make_score(values, random[metric], "a random map")
        for name, each in found.items()
        for metric, values in each.items()
    }
    return {"scores": scores, "details": {"images": len(images), "gate": gate}}


def judge_sanity(run: FinishedRun, control: FinishedRun | None) -> Part:
    """Whether the maps change when the layers are randomised; the mean over DRAWS random initialisations."""
    images = few(run.test).images
    batches, classes = run.batches(images), run.all_logits(images).argmax(dim=1)
    layer = cam_layer(run.net, batches[0])

    def maps(net: nn.Module) -> dict[str, Tensor]:
        return {"gradcam": all_cams(net, batches, classes, layer)["gradcam"]} | all_mask_maps(net, batches)

    draws = [sanity_checks.correlations(run.net, run.untrained(n), maps, seed=n) for n in range(DRAWS)]
    found = {name: torch.tensor([draw[name] for draw in draws]) for name in draws[0]}  # (DRAWS, steps)
    gate = chosen_gate(run)
    named = {"gradcam": "gradcam"} | ({"mask": gate} if gate is not None else {})
    scores = {f"sanity/{name}": make_score(found[key][:, -1], 0.0, "unrelated maps") for name, key in named.items()}
    means = {name: [round(value, 4) for value in values.mean(dim=0).tolist()] for name, values in found.items()}
    survived = [name for name, values in means.items() if sanity_checks.survives(values)]
    details = {"images": len(images), "draws": DRAWS, "correlations": means, "survived": survived}
    return {"scores": scores, "details": details}
