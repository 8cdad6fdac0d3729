"""Pairs of rows that are one model: any difference between them is chance, which shows a table's noise floor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attnlab.configuration.digest import canonical
from attnlab.configuration.identity import science
from attnlab.tables.statistics import Difference

#: scores whose last layer is initialised symmetrically about zero, so that flipping its sign gives the same model
SYMMETRIC = ("attnlab.attention.se.SE", "attnlab.attention.cbam.cbam")
#: masks that give one model on a symmetric score: m = s(z), m = 1 - s(z), m = s(-z)
EQUAL_MASKS = (
    {"_target_": "attnlab.attention.masks.Attend", "alpha": 1},
    {"_target_": "attnlab.attention.masks.Ignore", "alpha": 1},
    {"_target_": "attnlab.attention.masks.Negated"},
)


@dataclass(frozen=True)
class NoiseFloor:
    """Two rows of one column that are one model.

    twins: True if only the draw of the attention's initial weights differs; False if they are one model by the
    identity 1 - s(z) = s(-z).  same_start: whether at one seed both start from the same weights.
    """

    rows: tuple[str, str]
    twins: bool
    same_start: bool
    column: str
    difference: Difference
    p_holm: float | None


def are_one_model(config: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs are one model: twins, or equal by the identity 1 - s(z) = s(-z).

    Never true for configs with start_from: one of the two may have taken over the trained attention of that run.
    """
    return are_twins(config, other) or _are_identical(config, other)


def are_twins(config: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs differ only in attention.draw, the draw of the attention's initial weights."""
    mine, theirs = science(config), science(other)
    draws = [node["attention"].pop("draw", None) for node in (mine, theirs)]
    return mine == theirs and draws[0] != draws[1] and "start_from" not in mine


def _are_identical(config: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs have a symmetric score and differ in which of EQUAL_MASKS they have, perhaps in the draw of
    the attention's initial weights, and in nothing else."""
    mine, theirs = science(config), science(other)
    if mine["attention"]["_target_"] not in SYMMETRIC or "start_from" in mine:
        return False
    for node in (mine, theirs):
        node["attention"].pop("draw", None)
    masks = [node["attention"].pop("mask", None) for node in (mine, theirs)]
    return mine == theirs and masks[0] != masks[1] and all(canonical(mask) in EQUAL_MASKS for mask in masks)
