"""The conditions that arguments such as `recipe=quick attention.reduction=8` set for the records to select.

A group selects by name, the same in every command: recipe=quick fits the runs whose recipe is called `quick` in tables
and in the list of runs, with whatever values they change (`quick epochs=9`). A mask of another argument
(attention=se attention/mask=ignore) and other keys below the group do not count for the name. A name in a table that is
no yaml file, such as the class of an attention of one's own, can be given as well.
A key (recipe.epochs=9) fits the runs that have this value. experiment=NAME stands for all values that the experiment
sets. Several values (attention=se,ise seed=0,1) fit the runs that have one of them. As in a sweep, keys of attention
that attention=none does not have say nothing about it in attention=none,se attention.reduction=8.
Interpolations such as ${dataset.classes} are looked up in the record itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml
from hydra.core.override_parser.types import Glob, Override, QuotedString
from omegaconf import OmegaConf

from attnlab.configuration.compose import compose_file
from attnlab.configuration.digest import canonical
from attnlab.configuration.groups import CONFIG_DIR, choices, file_of, is_group, own_folder
from attnlab.configuration.identity import SECTIONS, science
from attnlab.configuration.keys import every_key
from attnlab.configuration.meant import meant
from attnlab.configuration.messages import unknown_choice, unknown_key
from attnlab.configuration.names import departures, name_of, read_choice
from attnlab.configuration.overrides import parse
from attnlab.configuration.replaced_nodes import by_group
from attnlab.configuration.schema import NO_ATTENTION
from attnlab.errors import ConfigError
from attnlab.records.record import Record

PATHS = ("dataset.root", "dataset.cache")


@dataclass(frozen=True, eq=False)
class Filter:
    """One condition.

    key: recipe, attention.mask, recipe.epochs, seed;  values: the allowed values, or what the choices of a group set;
    names: of a group, the choices by which it selects; empty where all values count, as for an experiment;
    given: the keys below a group that other arguments set;  spares_none: whether runs without attention fit, since they
    do not have the key.
    """

    argument: str
    key: str
    values: tuple[Any, ...]
    is_group: bool = False
    names: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    spares_none: bool = False

    def fits(self, record: Record) -> bool:
        """Whether a record meets the condition."""
        config = record["config"]
        if self.spares_none and config["attention"]["_target_"] == NO_ATTENTION:
            return value_at(science(config), self.key) is None or any(self._has(value, record) for value in self.values)
        if not self.is_group:
            return any(self._has(value, record) for value in self.values)
        return self.choice_of(record) is not None

    def choice_of(self, record: Record) -> int | None:
        """The number of the choice that a record has, by its values or else by its name; None if it has none."""
        node = value_at(record["config"], self.key)
        if not isinstance(node, dict):
            return None
        exact = (i for i in range(len(self.values)) if not self.changes(i, record))
        by_name = (i for i, name in enumerate(self.names) if self._name(i, record) == name)
        return next(exact, next(by_name, None))

    def changes(self, choice: int, record: Record) -> list[str]:
        """The keys of a group, besides the given ones, in which a record differs from a choice."""
        node, group = value_at(record["config"], self.key), self.key.replace(".", "/")
        value = self.values[choice]
        if not isinstance(value, Mapping):  # a name without a file
            return [] if self._name(choice, record) == value else [self.key]
        found = [f"{self.key}.{key}" for key in departures(group, value, node, record["config"])]
        return [key for key in found if not any(key == other or key.startswith(f"{other}.") for other in self.given)]

    def _name(self, choice: int, record: Record) -> str:
        """The first word of what tables call the group in a record that had the choice's values of the given keys."""
        config, value = record["config"], self.values[choice]
        node = value_at(config, self.key)
        for key in self.given if isinstance(value, Mapping) else ():
            node = _with(node, key.removeprefix(f"{self.key}.").split("."), value)
        return first_name(self.key, node, config)

    def _has(self, value: Any, record: Record) -> bool:
        wanted, held = canonical(value), value_at(science(record["config"]), self.key)
        if isinstance(wanted, dict) and isinstance(held, dict):
            held = {name: held.get(name) for name in wanted}
        return bool(wanted == held)


def value_at(node: Any, key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def first_name(key: str, node: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """`se` for a section that tables call `se reduction=8`."""
    return name_of(key.replace(".", "/"), node, config).split()[0]


def _with(node: Mapping[str, Any], path: Sequence[str], value: Mapping[str, Any]) -> dict[str, Any]:
    """The node with the value that `value` has at the path; without the key if it has none."""
    first, *rest = path
    changed = {name: item for name, item in node.items() if name != first}
    if first not in value:
        return changed
    nested = rest and isinstance(node.get(first), Mapping) and isinstance(value[first], Mapping)
    return changed | {first: _with(node[first], rest, value[first]) if nested else value[first]}


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
            values = tuple(_choice(key, choice, records) for choice in named)
            found.append(Filter(argument, key.replace("/", "."), values, is_group=True, names=tuple(named)))
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
    spares_none = any(one.key == "attention" and "none" in one.names and len(one.names) > 1 for one in found)
    return [
        replace(
            one,
            given=tuple(key for key in own if key.startswith(f"{one.key}.")),
            spares_none=spares_none and one.key.startswith("attention."),
        )
        for one in found
    ]


def _choice(group: str, choice: str, records: Sequence[Record]) -> Any:
    """The values of a yaml file, or the name itself where tables use it and no file has it. Raises ConfigError."""
    if choice in choices(group):
        return read_choice(group, choice)
    key = group.replace("/", ".")
    sections = [(value_at(record["config"], key), record["config"]) for record in records]
    held = {first_name(key, node, config) for node, config in sections if isinstance(node, Mapping)}
    if choice in held:
        return choice
    message = unknown_choice(group, choice, {*choices(group), *held})
    if held:
        message = f"{message.partition(' allowed are ')[0]} the runs have {', '.join(sorted(held))}"
    own = own_folder() is None and held - set(choices(group))
    raise ConfigError(message + f"; --config-dir or {CONFIG_DIR} adds choices of your own" * bool(own))


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


def _beside(key: str, held: Sequence[str]) -> list[str]:
    """The keys in the same group as this one, else all keys of its section."""
    parent = key.rpartition(".")[0]
    beside = [other for other in held if other.rpartition(".")[0] == parent]
    return beside or [other for other in held if other.split(".")[0] == key.split(".")[0]]
