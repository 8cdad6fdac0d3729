"""The parts of a judgement about gates and errors: health, calibration, attacks, backgrounds, corruptions, transfer.

Each function takes a run and its control (not used here, see attnlab.evaluation.suite_maps) and returns scores. Errors
are in percent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.digest import digest
from attnlab.configuration.identity import science
from attnlab.data.build import make_datamodule
from attnlab.data.cluttered_digits import difficulty_of
from attnlab.data.cluttered_digits_images import on_training_photos
from attnlab.data.subset import sample
from attnlab.errors import ConfigError
from attnlab.evaluation.finished_run import BATCH, FinishedRun
from attnlab.evaluation.metrics import background, calibration, gate_health
from attnlab.evaluation.metrics.attacks import fgsm, pgd
from attnlab.evaluation.metrics.corruptions import CORRUPTIONS, corrupt
from attnlab.evaluation.metrics.linear_probe import features, linear_error
from attnlab.evaluation.score import Part, make_score

EPSILONS = (2, 4, 8)  # attack sizes in levels of 255
SEVERITIES = (1, 2, 3, 4, 5)
NO_VALIDATION = {"images": 0, "order": "seed"}


def judge_health(run: FinishedRun, control: FinishedRun | None) -> Part:
    """Statistics of each gate's masks, and the test error with the mask replaced by its mean over other images."""
    on_selection = gate_health.sum_masks(run.net, run.batches(run.selection.images), run.logits)
    means = gate_health.mean_masks(on_selection)
    if not means:
        return {"scores": {}, "details": {"gates": {}}}
    batches, labels = run.batches(run.test.images), run.test.labels.cpu()
    seen = gate_health.mask_statistics(gate_health.sum_masks(run.net, batches, run.logits), labels)
    still = gate_health.hold_still(run.net, batches, labels, means, run.logits)
    words = gate_health.verdicts(still, seen)
    gates = {name: {**seen.get(name, {}), **still[name], "verdict": words[name]} for name in still}
    scores = {
        "still/error_change": make_score(still["all"]["error_change"], 0.0, "a gate that does nothing"),
        "still/changed": make_score(still["all"]["changed"], 0.0, "a gate that does nothing"),
    }
    if known := [one["saturated"] for one in seen.values() if one["saturated"] is not None]:  # None for a softmax
        scores["saturated"] = make_score(sum(known) / len(known), 0.0, "a mask without saturation", 100)
    return {"scores": scores, "details": {"gates": gates}}


def judge_calibration(run: FinishedRun, control: FinishedRun | None) -> Part:
    """Whether the predicted probabilities match the observed frequencies."""
    logits, labels = run.all_logits(run.test.images).cpu(), run.test.labels.cpu()
    probabilities = logits.softmax(dim=1)
    error, noise = calibration.calibration_error(probabilities, labels), calibration.calibration_noise(probabilities)
    nll = calibration.negative_log_likelihood(logits, labels)
    uniform = float(torch.log(torch.tensor(float(run.classes))))
    scores = {
        "calibration_error": make_score(error, noise, "a perfectly calibrated network on as many images"),
        "nll": make_score(nll, uniform, "equal probabilities for all classes"),
    }
    return {"scores": scores, "details": {}}


def judge_fgsm(run: FinishedRun, control: FinishedRun | None) -> Part:
    """The error under the fast gradient sign method."""
    return _judge_attack(run, "fgsm", fgsm)


def judge_pgd(run: FinishedRun, control: FinishedRun | None) -> Part:
    """The error under projected gradient descent with ten steps and one random start."""
    return _judge_attack(run, "pgd", pgd)


def _judge_attack(run: FinishedRun, name: str, attack: Callable[..., Tensor]) -> Part:
    mean, sd = run.preprocess.mean.to(run.device), run.preprocess.sd.to(run.device)

    def logits(pixels: Tensor) -> Tensor:
        return run.net(((pixels - mean) / sd).contiguous(memory_format=torch.channels_last))

    wrong: dict[int, list[Tensor]] = {epsilon: [] for epsilon in (0, *EPSILONS)}
    for part, labels in zip(run.test.images.split(BATCH), run.test.labels.split(BATCH), strict=True):
        pixels, labels = part.to(run.device).float() / 255, labels.to(run.device)
        for epsilon, found in wrong.items():
            attacked = attack(logits, pixels, labels, epsilon / 255) if epsilon else pixels
            with torch.no_grad():
                found.append((logits(attacked).argmax(dim=1) != labels).double().cpu())
    clean = torch.cat(wrong.pop(0))
    scores = {
        f"{name}_{epsilon}": make_score(torch.cat(found), clean, "error without attack", 100)
        for epsilon, found in wrong.items()
    }
    return {"scores": scores, "details": {"images": len(clean), "epsilon": "of 255, L-infinity"}}


def judge_background(run: FinishedRun, control: FinishedRun | None) -> Part:
    """Errors by group: test digits on the training photograph of their own class or of another (cluttered_digits)."""
    if not str(run.config["dataset"]["_target_"]).endswith("ClutteredDigits"):
        raise ConfigError("background: only cluttered_digits has backgrounds that predict the class")
    dataset = run.config["dataset"]
    difficulty = difficulty_of(*(dataset.get(name) for name in ("clutter", "contrast", "digit_height")))
    split = on_training_photos(2 * len(run.test), int(dataset["seed"]), difficulty)
    wrong = (run.all_logits(split.images).argmax(dim=1).cpu() != split.labels).cpu()
    found = background.group_errors(wrong, split.labels, split.photos)
    expected = background.expected_worst(wrong, split.labels, split.photos)
    every = float(100 * wrong.double().mean())
    scores = {
        "background/own": make_score(found["own"], every, "error on all of these images"),
        "background/other": make_score(found["other"], every, "error on all of these images"),
        "background/worst": make_score(found["worst"], expected, "the worst group with shuffled photographs"),
    }
    bias = dataset.get("background_bias")
    return {"scores": scores, "details": {"images": len(wrong), "background_bias": bias}}


def judge_corruptions(run: FinishedRun, control: FinishedRun | None) -> Part:
    """The mean error over the 15 common corruptions and five severities; in the details, the error of each."""
    labels = run.test.labels.cpu()
    clean = (run.all_logits(run.test.images).argmax(dim=1).cpu() != labels).double()
    by_name: dict[str, list[Tensor]] = {}
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            logits = run.all_logits(corrupt(run.test.images, name, severity))
            by_name.setdefault(name, []).append((logits.argmax(dim=1).cpu() != labels).double())
    every = torch.stack([torch.stack(errors) for errors in by_name.values()])  # (15, 5, N)
    details = {name: [round(100 * float(e.mean()), 4) for e in errors] for name, errors in by_name.items()}
    found = make_score(every.mean(dim=(0, 1)), clean, "error without corruption", 100)
    return {"scores": {"corruptions": found}, "details": {"error by severity": details}}


def transfer_data(config: Mapping[str, Any], dataset: str, overrides: Sequence[str]) -> tuple[str, Any]:
    """(digest of the dataset's science, its data module, set up) of the dataset on which features are probed.

    config: the run's;  overrides: keys of that dataset. Raises ConfigError if its images have another size.
    """
    size = config["dataset"]["image_size"]
    same = [f"dataset.image_size={size}"] if dataset in ("folder", "imagenet", "huggingface") else []
    values = plain(compose_file("run", [f"dataset={dataset}", *same, *overrides]))
    if values["dataset"]["image_size"] != size:
        other = values["dataset"]["image_size"]
        raise ConfigError(f"wrong value transfer={dataset}, images of {other} px; allowed are images of {size} px")
    recipe = config["recipe"] | {"validation": NO_VALIDATION}
    data = make_datamodule({**config, "dataset": values["dataset"], "recipe": recipe})
    data.setup()
    return digest(science({**config, "dataset": values["dataset"]})["dataset"]), data


def judge_transfer(run: FinishedRun, dataset: str, data: Any) -> Part:
    """The error of a linear classifier on the frozen features, on the images of `transfer_data`."""
    count = len(run.test)
    train, test = sample(data, "train", 2 * count), sample(data, "test", count)
    wrong = []
    for net in (run.net, run.untrained()):
        known, new = (features(net, run.batches(part.images), run.classes) for part in (train, test))
        wrong.append(linear_error(known, train.labels.cpu(), new, test.labels.cpu()))
    text = "features of an untrained network"
    return {
        "scores": {f"transfer/{dataset}": make_score(wrong[0], wrong[1], text, 100)},
        "details": {"images": [len(train), len(test)], "data_hash": data.data_hash},
    }
