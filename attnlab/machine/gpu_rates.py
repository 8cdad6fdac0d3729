"""Training rates that were measured on a GPU, and the time that runs take at these rates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEASURED_ON = "NVIDIA H200"
MEASURED_AT = "2026-11-21"
TOGETHER = 16  # runs side by side, for Rate.together


@dataclass(frozen=True)
class Rate:
    """Images per second of ResNet-20 with one attention: 32 px, batch 128, bf16-mixed, channels_last.

    graph: one run, its step a CUDA graph;  compiled: the same, compiled too;  together: the sum over TOGETHER runs
    whose graphs run side by side, not compiled; None = not measured.
    """

    graph: float
    compiled: float
    together: float | None = None


#: `_target_` of the attention -> its rates. Measured with bare training loops, whose steps were captured, at d859e90.
RESNET20 = {
    "torch.nn.Identity": Rate(63_500, 79_900, 146_000),
    "attnlab.attention.se.SE": Rate(46_600, 63_300),
    "attnlab.attention.cbam.cbam": Rate(22_500, 38_800, 52_000),
}
#: `_target_` of a dataset -> its training images, validation images included; None = dataset.train_size
IMAGES: dict[str, int | None] = {
    "attnlab.data.cifar.CIFAR10": 50_000,
    "attnlab.data.cifar.CIFAR100": 50_000,
    "attnlab.data.svhn.SVHN": 73_257,
    "attnlab.data.cluttered_digits.ClutteredDigits": None,
}


def rate_of(values: Mapping[str, Any]) -> Rate | None:
    """The measured rates of a config's net; None where none were measured."""
    model, attention = values["model"], values["attention"]
    measured = (
        model["_target_"] == "attnlab.models.resnet_cifar.ResNet"
        and model.get("depth") == 20
        and values["dataset"]["image_size"] == 32
        and values["recipe"]["batch_size"] == 128
        and values["head"]["_target_"] == "attnlab.heads.linear.Linear"
        and attention.get("place", "branch") == "branch"
        and attention.get("stages") is None
    )
    return RESNET20.get(attention["_target_"]) if measured else None


def expected_seconds(
    values: Mapping[str, Any], gpu: str | None, share: int = 1, *, side_by_side: bool = False
) -> float | None:
    """Seconds that a run takes while `share` runs are on its GPU; None where no rate is known for it.

    gpu: the GPU's name. Rates hold for the GPU that they were measured on.  side_by_side: runs use the GPU at the same
    time (NVIDIA MPS), not in turns, in which they reach together what one reaches. Start, validation and test are not
    counted.
    """
    rate, images = rate_of(values), training_images(values)
    if rate is None or images is None or gpu is None or MEASURED_ON not in gpu or not _as_measured(values["machine"]):
        return None
    if share == 1 or not side_by_side:
        return images * share / rate.graph
    if rate.together is None or share > TOGETHER:
        return None
    return images * share / min(rate.together, rate.graph * share)  # fewer runs than TOGETHER may not fill the GPU


def training_images(values: Mapping[str, Any]) -> int | None:
    """Images that a run trains on, each as often as it is seen; None where the size of its dataset is not known."""
    recipe, dataset = values["recipe"], values["dataset"]
    if recipe["steps"] is not None:
        return int(recipe["steps"] * recipe["batch_size"])
    if dataset["_target_"] not in IMAGES:
        return None
    images, held = IMAGES[dataset["_target_"]] or dataset["train_size"], recipe["validation"]["images"]
    rest = images - (round(held * images) if isinstance(held, float) else held)
    part = round(rest * (dataset.get("fraction") or 1))
    return int(part * recipe["epochs"] * (recipe.get("passes_per_epoch") or 1))


def _as_measured(machine: Mapping[str, Any]) -> bool:
    return (
        machine["accelerator"] in ("auto", "gpu", "cuda")
        and machine["devices"] == 1
        and machine.get("graph", "auto") is not False
        and machine["precision"] in ("auto", "bf16-mixed")
        and machine["channels_last"]
    )
