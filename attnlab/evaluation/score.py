"""One score of a judgement: a value, its standard error over images, and the reference value it is compared with."""

from typing import Any

from torch import Tensor

#: what judging one part returns: {"scores": {name: score}, "details": {...}}
Part = dict[str, Any]


def make_score(
    values: Tensor | float, beside: Tensor | float | None, meaning: str, scale: float = 1.0
) -> dict[str, Any]:
    """{"value", "se", "beside", "meaning"}, the numbers multiplied by `scale`.

    values: one per image, whose mean and standard error are taken, or a single number, which has no standard error;
    beside: the reference value, of which a tensor's mean is taken, None if there is none;  meaning: what `beside` is.
    """
    found: dict[str, Any] = {"meaning": meaning, "se": None}
    if isinstance(values, Tensor):
        if len(values) > 1:
            found["se"] = _rounded(scale * float(values.double().std()) / len(values) ** 0.5)
        values = float(values.double().mean())
    if isinstance(beside, Tensor):
        beside = float(beside.double().mean())
    return found | {
        "value": _rounded(scale * values),
        "beside": None if beside is None else _rounded(scale * beside),
    }


def _rounded(value: float) -> float:
    return round(value, 6)
