"""The records that the arguments of a command select, what is mixed among them, and why there are none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from attnlab.configuration.digest import canonical
from attnlab.configuration.groups import is_group
from attnlab.configuration.identity import science
from attnlab.configuration.messages import as_typed
from attnlab.records.record import Record
from attnlab.tables.record_filter import Filter, first_name, read_filters, value_at

MOST = 6  # values or keys that one line names


class Selection(NamedTuple):
    """The selected records.

    notes: a line for each choice whose selected runs have different values;  reason: why no record is selected.
    """

    records: list[Record]
    notes: list[str]
    reason: str


def select(records: Sequence[Record], overrides: Sequence[str]) -> Selection:
    """The records that meet the conditions of all overrides (record_filter.py).

    Raises ConfigError for a key that no record has, an unknown choice, and a key that cannot select records.
    """
    filters = read_filters(overrides, records)
    chosen = [record for record in records if all(one.fits(record) for one in filters)]
    notes = [line for one in filters if one.names for line in _mixed(one, chosen)]
    return Selection(chosen, notes, "" if chosen or not filters else _reason(records, filters))


def _mixed(one: Filter, chosen: Sequence[Record]) -> Iterator[str]:
    """A line for each choice of a group whose runs differ in a key that no argument sets."""
    by_choice: dict[int, list[Record]] = {}
    for record in chosen:
        if (choice := one.choice_of(record)) is not None:
            by_choice.setdefault(choice, []).append(record)
    for choice, of_choice in by_choice.items():
        changed = sorted({_to_type(key) for record in of_choice for key in one.changes(choice, record)})
        values = {key: _distinct(_held(key, record) for record in of_choice) for key in changed}
        varying = {key: found for key, found in values.items() if len(found) > 1}
        if varying:
            key, found = next(iter(varying.items()))
            named = f"{one.key.replace('.', '/')}={one.names[choice]}"
            keys = _shown([f"{name} ({_shown(each)})" for name, each in varying.items()])
            yield f"{named}: runs with different {keys}; select among them by a value, as {key}={found[0]}"


def _reason(records: Sequence[Record], filters: Sequence[Filter]) -> str:
    """Which argument no run meets, or which to leave out."""
    if not records:
        return "no run is recorded"
    for one in filters:
        if not any(one.fits(record) for record in records):
            held = _distinct(
                _held(one.key.replace(".", "/") if one.is_group else one.key, record) for record in records
            )
            there = f"; the runs have {_shown(held)}" if held else ""
            return f"no run has {one.argument}{there}"
    for one in filters:
        others = [other for other in filters if other is not one]
        if n := sum(all(other.fits(record) for other in others) for record in records):
            return f"no run meets all of them; without {one.argument}, {n} do{'es' * (n == 1)}"
    return "no run meets all of them"


def _to_type(key: str) -> str:
    """The key by which one selects: attention/mask for attention.mask.alpha, since a mask is a choice."""
    above, mask, _ = key.partition(".mask.")
    return f"{above}/mask" if mask else key


def _held(key: str, record: Record) -> Any:
    """What a record has at a key: the name of a group's choice (attention/mask, recipe), or a value."""
    node = value_at(record["config"], key.replace("/", "."))
    if is_group(key):
        return first_name(key, node, record["config"]) if isinstance(node, Mapping) else None
    return value_at(science(record["config"]), key)


def _distinct(values: Iterable[Any]) -> list[str]:
    """Different values as one types them: numbers by size, then texts."""
    found = {as_typed(value): value for value in map(canonical, values)}
    numbers = [text for text, value in found.items() if isinstance(value, int | float) and not isinstance(value, bool)]
    return [*sorted(numbers, key=float), *sorted(found.keys() - set(numbers))]


def _shown(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MOST} more" if len(texts) > MOST else ""
    return ", ".join(texts[:MOST]) + more
