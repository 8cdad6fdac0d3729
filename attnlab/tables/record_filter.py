"""Which records match the arguments of `python -m attnlab.report recipe=quick attention.reduction=8`.

A group (recipe=quick, attention/mask=ignore) matches a record whose values equal those of conf/<group>/<choice>.yaml;
interpolations such as ${dataset.classes} are looked up in the record itself. A key (recipe.epochs=9) matches a record
with this value, and replaces the value of the choice. Several values (attention=se,ise seed=0,1) match a record that
has one of them. No record is compared under another dataset than its own.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from hydra.core.override_parser.types import Glob, Override, QuotedString
from omegaconf import OmegaConf

from attnlab.configuration.compose import compose_file
from attnlab.configuration.digest import canonical
from attnlab.configuration.groups import choices, file_of, is_group
from attnlab.configuration.identity import SECTIONS, science
from attnlab.configuration.keys import every_key
from attnlab.configuration.meant import meant
from attnlab.configuration.messages import unknown_key
from attnlab.configuration.names import departures, name_of, read_choice
from attnlab.configuration.overrides import parse
from attnlab.configuration.replaced_nodes import by_group
from attnlab.errors import ConfigError
from attnlab.records.record import Record

PATHS = ("dataset.root", "dataset.cache")


@dataclass(frozen=True, eq=False)
class Filter:
    """One condition.

    key: recipe, attention.mask, recipe.epochs, seed;  values: the allowed values, or what the choices of a group set;
    given: the keys below a group that other arguments set.
    """

    argument: str
    key: str
    values: tuple[Any, ...]
    is_group: bool = False
    given: tuple[str, ...] = ()

    def mismatches(self, record: Record) -> list[str]:
        """The keys in which a record differs from the nearest value; empty if it matches one."""
        return min((self._differences(value, record) for value in self.values), key=len)

    def _differences(self, value: Any, record: Record) -> list[str]:
        config = record["config"]
        if not self.is_group:
            wanted, held = canonical(value), _at(science(config), self.key)
            if isinstance(wanted, dict) and isinstance(held, dict):
                held = {name: held.get(name) for name in wanted}
            return [] if wanted == held else [self.key]
        node = _at(config, self.key)
        group = self.key.replace(".", "/")
        if not isinstance(node, dict):
            return [self.key]
        found = [f"{self.key}.{key}" for key in departures(group, value, node, config)]
        return [key for key in found if not any(key == other or key.startswith(f"{other}.") for other in self.given)]


def select(records: Sequence[Record], overrides: Sequence[str]) -> tuple[list[Record], list[str]]:
    """(the records that match all arguments, lines about records that nearly match a group's choice).

    Raises ConfigError for a key that no record has, an unknown choice, and a key that cannot select records.
    """
    filters = read_filters(overrides, records)
    chosen, near = [], Counter[tuple[str, str]]()
    for record in records:
        failed = {one: keys for one in filters if (keys := one.mismatches(record))}
        if not failed:
            chosen.append(record)
        elif len(failed) == 1:
            ((one, keys),) = failed.items()
            if one.is_group and _is_near(one, record):
                near[one.argument, ", ".join(f"{key}={_at(record['config'], key)}" for key in keys)] += 1
    near_misses = [
        f"not selected: {n} run{'s' * (n != 1)} of {argument} but for {what}, which must be given as well"
        for (argument, what), n in near.items()
    ]
    return chosen, near_misses


def _is_near(one: Filter, record: Record) -> bool:
    """Whether a record has the group's choice, with some values changed."""
    config, named = record["config"], one.argument.partition("=")[2].split(",")
    node = _at(config, one.key)
    return isinstance(node, dict) and name_of(one.key.replace(".", "/"), node, config).split()[0] in named


def read_filters(overrides: Sequence[str], records: Sequence[Record]) -> list[Filter]:
    """The conditions of some overrides. Raises ConfigError."""
    found: list[Filter] = []
    held = sorted({key for record in records for key in every_key(record["config"])})
    overrides = [by_group(override) for override in overrides]
    for argument, item in zip(overrides, parse(overrides, "the command line"), strict=True):
        key = item.key_or_group
        if item.is_delete():
            raise ConfigError(f"cannot select records by {argument}; allowed is {key}=VALUE or {key}=VALUE,VALUE")
        if key == "experiment":
            if item.is_sweep_override():
                raise ConfigError(f"several values {argument}; allowed is one, experiment=NAME")
            found += _of_experiment(argument, str(item.value()))
        elif key in PATHS:
            raise ConfigError(
                f"{argument}: cannot select records, which hold no path; dataset.listing=... identifies a folder"
            )
        elif is_group(key) and key.split("/")[0] in SECTIONS:
            named = [str(value) for value in _values(argument, item, choices(key))]
            if unknown := [choice for choice in named if choice not in choices(key)]:
                raise ConfigError(f"{key}={unknown[0]}: unknown; allowed are {', '.join(choices(key))}")
            values = tuple(read_choice(key, choice) for choice in named)
            found.append(Filter(argument, key.replace("/", "."), values, is_group=True))
        elif key in ("seed", "start_from") or key.split(".")[0] in SECTIONS:
            found.append(Filter(argument, key, _values(argument, item)))
        else:
            allowed = ", ".join(("output_dir", "source", "experiment", "seed", "start_from", *SECTIONS))
            hint = f"did you mean {' or '.join(guesses)}? " if (guesses := meant(key, [], held)) else ""
            raise ConfigError(f"{key}: cannot select records; {hint}allowed are {allowed} and keys below them")
    for one in found:
        if records and not one.is_group and one.values != (None,) and one.key not in held:
            raise ConfigError(unknown_key(one.key, _beside(one.key, held), held))
    own = {one.key for one in found}
    return [
        Filter(one.argument, one.key, one.values, one.is_group, tuple(k for k in own if k.startswith(f"{one.key}.")))
        for one in found
    ]


def _of_experiment(argument: str, name: str) -> list[Filter]:
    """A condition for each group that an experiment sets, with the values it sets."""
    if name not in choices("experiment"):
        raise ConfigError(f"{argument}: unknown; allowed are {', '.join(choices('experiment'))}")
    body = yaml.safe_load(file_of("experiment", name).read_text())
    named = [group for entry in body.get("defaults", []) if isinstance(entry, dict) for group in entry]
    sections = {group.removeprefix("override /") for group in named} | body.keys()
    composed = compose_file("run", [f"experiment={name}"])
    values: Any = OmegaConf.to_container(composed, resolve=False)
    return [Filter(argument, section, (values[section],), is_group=True) for section in SECTIONS if section in sections]


def _values(argument: str, item: Override, known: Sequence[str] = ()) -> tuple[Any, ...]:
    """The values of `key=a,b`, `key=range(3)` or `key=glob(*)`; one for `key=a`. known: names that a glob can match."""
    value = item.value()
    if isinstance(value, Glob):
        if not known:
            raise ConfigError(
                f"cannot select records by {argument}; allowed with a pattern are groups, attention=glob(*)"
            )
        return tuple(value.filter(list(known)))
    if not item.is_sweep_override():
        return (_value(argument, item),)
    each = [f"{item.key_or_group}={text}" for text in item.sweep_string_iterator()]
    return tuple(_value(text, one) for text, one in zip(each, parse(each, argument), strict=True))


def _value(argument: str, item: Override) -> Any:
    if item.key_or_group == "start_from":  # an id of digits only must stay a text
        text = argument.partition("=")[2].strip("'\"")
        return None if text == "null" else text
    value = item.value()
    return value.text if isinstance(value, QuotedString) else value


def _at(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _beside(key: str, held: Sequence[str]) -> list[str]:
    """The keys in the same group as this one, else all keys of its section."""
    parent = key.rpartition(".")[0]
    beside = [other for other in held if other.rpartition(".")[0] == parent]
    return beside or [other for other in held if other.split(".")[0] == key.split(".")[0]]
