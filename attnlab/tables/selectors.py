"""Which arguments select cells of a table, and which of its cells and seeds they select."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Glob, Override, QuotedString

from attnlab.configuration.compose import chosen
from attnlab.configuration.groups import is_group
from attnlab.configuration.overrides import parse
from attnlab.errors import ConfigError

#: arguments that are about the table, so that its runs do not get them
TABLE_ARGUMENTS = ("table", "source")

#: each argument with its parsed form
Given = list[tuple[str, Override]]
#: (row, column) -> {key: value as typed} of what the two set
DeclaredValues = dict[tuple[str, str], dict[str, str]]


def declared_values(name: str, table: Mapping[str, Any]) -> DeclaredValues:
    """What each row and column set. Raises ConfigError if both set one key."""
    declared = {
        kind: {label: parse(overrides, f"table.{kind}.{label}") for label, overrides in table[kind].items()}
        for kind in ("rows", "columns")
    }
    values = {}
    for row, of_row in declared["rows"].items():
        for column, of_column in declared["columns"].items():
            if both := {item.key_or_group for item in of_row} & {item.key_or_group for item in of_column}:
                raise ConfigError(f"table={name}: row {row} and column {column} both set {sorted(both)[0]}")
            values[row, column] = {item.key_or_group: _text(item.value()) for item in (*of_row, *of_column)}
    return values


def split_arguments(values: DeclaredValues, given: Given) -> tuple[list[Override], list[str]]:
    """(arguments that select cells or seeds, arguments that every run gets)."""
    keys = {"seed"} | {key for of_pair in values.values() for key in of_pair}
    selectors, run_overrides = [], []
    for argument, item in given:
        if root_of(item) in TABLE_ARGUMENTS or item.key_or_group.startswith("hydra"):
            continue
        if item.key_or_group in keys:
            selectors.append(item)
        elif item.is_sweep_override():
            raise ConfigError(f"{argument}: several values; a table allows one for a key that no row or column sets")
        else:
            run_overrides.append(argument)
    return selectors, run_overrides


def wanted_values(item: Override, known: Sequence[str], name: str, hint: str = "") -> set[str]:
    """The values that an argument selects. Raises ConfigError for one that is not among the known ones."""
    value = item.value()
    if isinstance(value, Glob):
        named = value.filter(list(known))
    elif item.is_sweep_override():
        named = [str(text) for text in item.sweep_string_iterator()]
        named = [text[1:-1] if text[:1] in "'\"" and text[-1:] == text[:1] else text for text in named]
    else:
        named = [_text(value)]
    if unknown := [text for text in named if text not in known]:
        raise ConfigError(f"{item.key_or_group}={unknown[0]}: not in table={name}, which has {', '.join(known)}{hint}")
    return set(named)


def _text(value: Any) -> str:
    """A value as typed: true, null, 16, [2,3]."""
    return value.text if isinstance(value, QuotedString) else Override._get_value_element_as_str(value)


def text_at(overrides: Sequence[str], config: Mapping[str, Any], key: str) -> str | None:
    """The value, or a group's choice, that a composed cell has at a key; None if it has no such key."""
    if is_group(key):
        return chosen(overrides).get(key)
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return _text(node)


def root_of(item: Override) -> str:
    """The first part of an argument's key: table.seeds=[0] -> table."""
    return item.key_or_group.split(".")[0]
