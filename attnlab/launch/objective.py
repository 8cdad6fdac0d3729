"""What a job returns to Hydra's sweeper: the values of its record that a search minimises."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from attnlab.configuration.identity import run_id
from attnlab.configuration.schema import OBJECTIVES

Value = float | list[float]  # of one objective, or of several


def value_of(record: Mapping[str, Any], objective: str | Sequence[str] | None) -> Value | None:
    """The value of a record for one objective, or the values for a list of them; None if the record lacks one.

    objective: names of `schema.OBJECTIVES`;  None: the validation error in percent.
    """
    if objective is None or isinstance(objective, str):
        return _number(record, objective or OBJECTIVES[0])
    values = [number for name in objective if (number := _number(record, name)) is not None]
    return values if len(values) == len(objective) else None


def _number(record: Mapping[str, Any], name: str) -> float | None:
    value = record["metrics"].get(name) if "/" in name else record.get(name)
    return None if value is None else float(value)


def run_of(returned: JobReturn) -> str:
    """The run id of a job that a launcher hands back."""
    assert returned.cfg is not None
    return run_id(OmegaConf.masked_copy(returned.cfg, [str(key) for key in returned.cfg if key != "hydra"]))
