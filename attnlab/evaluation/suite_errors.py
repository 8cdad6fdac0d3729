"""The parts of a judgement that are about gates and errors: health, calibration, attacks.

Each takes a Subject and its control (see attnlab.evaluation.suite_maps) and gives scores; errors in percent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.digest import digest
from attnlab.configuration.identity import science
from attnlab.data.build import make_datamodule
from attnlab.data.cluttered_digits_images import on_training_photos
from attnlab.data.subset import sample
from attnlab.errors import ConfigError
from attnlab.evaluation.finished_run import BATCH, Subject
from attnlab.evaluation.metrics import background, calibration, gate_health
from attnlab.evaluation.metrics.attacks import fgsm, pgd
from attnlab.evaluation.metrics.corruptions import CORRUPTIONS, corrupt
from attnlab.evaluation.metrics.linear_probe import features, linear_error
from attnlab.evaluation.score import Part, score

EPSILONS = (2, 4, 8)  # of 255
SEVERITIES = (1, 2, 3, 4, 5)
NO_VAL = {"images": 0, "order": "seed"}


def judge_health(s: Subject, control: Subject | None) -> Part:
    """Each gate's masks, and the test error with it held still at its mean over other images."""
    means = gate_health.mean_masks(gate_health.observe(s.net, s.batches(s.other.images), s.logits))
    if not means:
        return {"scores": {}, "details": {"gates": {}}}
    batches, labels = s.batches(s.test.images), s.test.labels.cpu()
    seen = gate_health.statistics(gate_health.observe(s.net, batches, s.logits), labels)
    still = gate_health.held_still(s.net, batches, labels, means, s.logits)
    words = gate_health.verdicts(still, seen)
    gates = {name: {**seen.get(name, {}), **still[name], "verdict": words[name]} for name in still}
    scores = {
        "still/error_change": score(still["all"]["error_change"], 0.0, "a gate that does nothing"),
        "still/changed": score(still["all"]["changed"], 0.0, "a gate that does nothing"),
    }
    if known := [one["saturated"] for one in seen.values() if one["saturated"] is not None]:  # not of a softmax
        scores["saturated"] = score(sum(known) / len(known), 0.0, "a mask that can learn", 100)
    return {"scores": scores, "details": {"gates": gates}}


def judge_calibration(s: Subject, control: Subject | None) -> Part:
    """Whether the network's probabilities are right."""
    logits, labels = s.all_logits(s.test.images).cpu(), s.test.labels.cpu()
    probabilities = logits.softmax(dim=1)
    error, noise = calibration.calibration_error(probabilities, labels), calibration.calibration_noise(probabilities)
    nll = calibration.negative_log_likelihood(logits, labels)
    uniform = float(torch.log(torch.tensor(float(s.classes))))
    scores = {
        "calibration_error": score(error, noise, "calibrated perfectly, so few images"),
        "nll": score(nll, uniform, "guessing"),
    }
    return {"scores": scores, "details": {}}


def judge_fgsm(s: Subject, control: Subject | None) -> Part:
    """The error under the fast gradient sign method."""
    return _attacked(s, "fgsm", fgsm, s.test)


def judge_pgd(s: Subject, control: Subject | None) -> Part:
    """The error under projected gradient descent, ten steps, one random start."""
    return _attacked(s, "pgd", pgd, s.test)


def _attacked(s: Subject, name: str, attack: Callable[..., Tensor], images: Any) -> Part:
    mean, sd = s.preprocess.mean.to(s.device), s.preprocess.sd.to(s.device)

    def logits(pixels: Tensor) -> Tensor:
        return s.net(((pixels - mean) / sd).contiguous(memory_format=torch.channels_last))

    wrong: dict[int, list[Tensor]] = {epsilon: [] for epsilon in (0, *EPSILONS)}
    for part, labels in zip(images.images.split(BATCH), images.labels.split(BATCH), strict=True):
        pixels, labels = part.to(s.device).float() / 255, labels.to(s.device)
        for epsilon, found in wrong.items():
            attacked = attack(logits, pixels, labels, epsilon / 255) if epsilon else pixels
            with torch.no_grad():
                found.append((logits(attacked).argmax(dim=1) != labels).double().cpu())
    clean = torch.cat(wrong.pop(0))
    scores = {f"{name}_{e}": score(torch.cat(found), clean, "error without attack", 100) for e, found in wrong.items()}
    return {"scores": scores, "details": {"images": len(clean), "epsilon": "of 255, L-infinity"}}


def judge_background(s: Subject, control: Subject | None) -> Part:
    """Errors by group, test digits on training photographs: own class's or another's (cluttered_digits alone)."""
    if not str(s.config["dataset"]["_target_"]).endswith("ClutteredDigits"):
        raise ConfigError("background: only cluttered_digits has backgrounds that predict the class")
    split = on_training_photos(2 * len(s.test), int(s.config["dataset"]["seed"]))
    wrong = (s.all_logits(split.images).argmax(dim=1).cpu() != split.labels).cpu()
    found = background.groups(wrong, split.labels, split.photos)
    expected = background.expected_worst(wrong, split.labels, split.photos)
    every = float(100 * wrong.double().mean())
    scores = {
        "background/own": score(found["own"], every, "all of these images"),
        "background/other": score(found["other"], every, "all of these images"),
        "background/worst": score(found["worst"], expected, "the worst, if photographs meant nothing"),
    }
    rho = s.config["dataset"].get("background_bias")
    return {"scores": scores, "details": {"images": len(wrong), "background_bias": rho}}


def judge_corruptions(s: Subject, control: Subject | None) -> Part:
    """The error under each of the 15 common corruptions, and over all, the mean of five severities."""
    labels = s.test.labels.cpu()
    clean = (s.all_logits(s.test.images).argmax(dim=1).cpu() != labels).double()
    by_name: dict[str, list[Tensor]] = {}
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            logits = s.all_logits(corrupt(s.test.images, name, severity))
            by_name.setdefault(name, []).append((logits.argmax(dim=1).cpu() != labels).double())
    every = torch.stack([torch.stack(errors) for errors in by_name.values()])  # (15, 5, N)
    details = {name: [round(100 * float(e.mean()), 4) for e in errors] for name, errors in by_name.items()}
    found = score(every.mean(dim=(0, 1)), clean, "error without corruption", 100)
    return {"scores": {"corruptions": found}, "details": {"error by severity": details}}


def transfer_data(config: Mapping[str, Any], dataset: str, overrides: Sequence[str]) -> tuple[str, Any]:
    """(digest of its science, data module, set up) of the dataset that a run's features are tried on.

    config: the run's;  overrides: of that dataset's keys. Raises ConfigError when its images have another size.
    """
    size = config["dataset"]["image_size"]
    same = [f"dataset.image_size={size}"] if dataset in ("folder", "imagenet", "huggingface") else []
    values = plain(compose_file("run", [f"dataset={dataset}", *same, *overrides]))
    if values["dataset"]["image_size"] != size:
        raise ConfigError(f"transfer={dataset}: its images have {values['dataset']['image_size']} px, the run's {size}")
    recipe = config["recipe"] | {"validation": NO_VAL}
    data = make_datamodule({**config, "dataset": values["dataset"], "recipe": recipe})
    data.setup()
    return digest(science({**config, "dataset": values["dataset"]})["dataset"]), data


def judge_transfer(s: Subject, dataset: str, data: Any) -> Part:
    """The error of a linear classifier on the frozen features, on the images of `transfer_data`."""
    count = len(s.test)
    train, test = sample(data, "train", 2 * count), sample(data, "test", count)
    found = []
    for net in (s.net, s.fresh()):
        known, new = (features(net, s.batches(part.images), s.classes) for part in (train, test))
        found.append(linear_error(known, train.labels.cpu(), new, test.labels.cpu()))
    text = "features of an untrained network"
    return {
        "scores": {f"transfer/{dataset}": score(found[0], found[1], text, 100)},
        "details": {"images": [len(train), len(test)], "data_hash": data.data_hash},
    }
