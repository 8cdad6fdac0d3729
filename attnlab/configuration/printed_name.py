"""Which run has a name that was printed: `se reduction=8 resnet20 cifar10 seed=0 recipe.epochs=3`."""

from collections.abc import Mapping, Sequence
from typing import Any

from attnlab.configuration.digest import canonical
from attnlab.configuration.identity import SECTIONS
from attnlab.configuration.keys import leaves
from attnlab.configuration.names import name_of


def named(words: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> list[int]:
    """The numbers of the configs that a printed name, in words, fits.

    A name fits a config that has all its words. Of several such configs, those count whose parts it names in full: `se`
    fits `se reduction=8` only where there is no plain `se`.
    """
    wanted = {_rounded(word) for word in words}
    fitting = [number for number, config in enumerate(configs) if wanted <= _words(config)]
    return [number for number in fitting if _in_full(configs[number], wanted)] or fitting


def _in_full(config: Mapping[str, Any], wanted: set[str]) -> bool:
    """Whether the words have all that the config changes in the attention and the model that they name."""
    parts = [name_of(part, config[part], config).split() for part in ("attention", "model")]
    return all({_rounded(word) for word in part} <= wanted for part in parts if part[0] in wanted)


def _words(config: Mapping[str, Any]) -> set[str]:
    """All words that may stand in a run's name: of its parts, and `recipe.epochs=3` of each of its values."""
    parts = [name_of(part, config[part], config).split() for part in SECTIONS]
    values = [f"{key}={value}" for key, value in leaves(canonical(config)).items()]
    return {_rounded(word) for word in [*(word for part in parts for word in part), *_of_sections(parts), *values]}


def _of_sections(parts: Sequence[Sequence[str]]) -> list[str]:
    """`recipe=quick`, `recipe.epochs=3`, as names of several runs add them."""
    found = []
    for part, (choice, *values) in zip(SECTIONS, parts, strict=True):
        found += [f"{part}={choice}", *(f"{part}.{value}" for value in values)]
    return found


def _rounded(word: str) -> str:
    """The word; a number after `=` has four digits, since names show no more."""
    key, equals, value = word.partition("=")
    try:
        return f"{key}={float(value):.4g}" if equals else word
    except ValueError:
        return word
