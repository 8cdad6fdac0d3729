"""A score of a judgement: a value, its standard error over images, and what it is to be held against."""

from typing import Any

from torch import Tensor

#: what a part of a judgement returns: {scores: {name: score}, details: {...}}
Part = dict[str, Any]


def score(values: Tensor | float, beside: Tensor | float | None, meaning: str, scale: float = 1.0) -> dict[str, Any]:
    """One score; of a tensor the mean over images with its standard error. beside: None where there is none."""
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
