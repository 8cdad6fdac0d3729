"""The space of a search: Hydra's sweep syntax as Optuna's distributions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from attnlab.configuration.overrides import parse
from attnlab.errors import ConfigError


@dataclass(frozen=True)
class Space:
    """distributions: {key: Optuna's distribution} of the keys that are searched;  fixed: overrides of every trial."""

    distributions: dict[str, Any]
    fixed: list[str]


def read_space(params: Mapping[str, Any], arguments: Sequence[str]) -> Space:
    """The space that a yaml file declares and the command line changes.

    params: {key: text};  arguments: overrides, which replace the params of the same key; one without several values
    fixes its key. Raises ConfigError for a text that cannot be parsed, and for a space without a key.
    """
    declared = [f"{key}={text}" for key, text in params.items()]
    items = {item.get_key_element(): item for item in parse(declared, "hydra.sweeper.params")}
    items |= {item.get_key_element(): item for item in parse(arguments, "the command line")}
    distributions = {key: _distribution(item) for key, item in items.items() if item.is_sweep_override()}
    if not distributions:
        raise ConfigError("nothing to search: no key has several values; allowed is hparams=NAME, or KEY=interval(A,B)")
    return Space(distributions, [str(item.input_line) for key, item in items.items() if key not in distributions])


def _distribution(item: Override) -> Any:
    """Optuna's distribution of `interval(a,b)`, `tag(log,interval(a,b))`, `range(a,b,step)` or a list of choices.

    The values of int(interval(a,b)) are integers. Choices are the texts as typed, so that null stays null.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = item.value()
    try:
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            whole = isinstance(low, int) and isinstance(high, int)
            kind: Any = IntDistribution if whole else FloatDistribution
            return kind(low, high, log="log" in value.tags)
        if isinstance(value, RangeSweep) and not value.shuffle:
            values = list(value.range())
            whole = all(isinstance(number, int) for number in values)
            kind = IntDistribution if whole else FloatDistribution
            return kind(values[0], values[-1], step=value.step)
    except (ValueError, IndexError) as error:
        raise ConfigError(f"wrong value {item.input_line}: {error}; allowed is a range that is not empty") from error
    return CategoricalDistribution(list(item.sweep_string_iterator()))
