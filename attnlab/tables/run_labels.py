"""Short names that tell the runs of one table apart: `se`, `reduction=4`, `lr=0.05`, and what they have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnlab.configuration.digest import canonical
from attnlab.configuration.identity import decisive
from attnlab.configuration.names import name_of

Config = Mapping[str, Any]


@dataclass(frozen=True)
class SectionNames:
    """The names of one section (model, attention, ...) in several configs.

    labels: a name for each config, without the words that all share;  common: these words, empty if there are none;
    numbers: {key: its number in each config, None where a config lacks it} of the keys that take several numbers.
    """

    labels: tuple[str, ...]
    common: str
    numbers: Mapping[str, tuple[float | None, ...]]

    @property
    def vary(self) -> bool:
        """Whether the configs differ in this section."""
        return len(set(self.labels)) > 1


def section_names(section: str, configs: Sequence[Config]) -> SectionNames:
    """Name a section in each config.

    A name is the yaml file and what differs from it, as in `se reduction=8`. A number that varies between configs of
    one file is always named, also where it has the file's value, so that `reduction=16` stands beside `reduction=8`.
    """
    words = [name_of(section, config[section], config).split() for config in configs]
    numbers = _varying_numbers([_numbers(decisive(section, config[section])) for config in configs], words)
    for key, values in numbers.items():
        for parts, value in zip(words, values, strict=True):
            if value is not None:
                parts[:] = [part for part in parts if not part.startswith(f"{key}=")]
                parts.append(f"{short_key(key, numbers)}={value}")
    common = [word for word in words[0] if all(word in parts for parts in words)]
    labels = [" ".join(part for part in parts if part not in common) for parts in words]
    if len(set(labels)) > 1 and not all(labels):  # `se` beside `se mask=ignore`
        common, labels = [], [" ".join(parts) for parts in words]
    return SectionNames(tuple(labels), " ".join(common), numbers)


def short_key(key: str, keys: Mapping[str, Any]) -> str:
    """`lr` of `optimizer.lr`, `weight_decay` of `weight_decay.default`; the whole key if another one ends alike."""
    last = _last(key)
    return last if sum(_last(other) == last for other in keys) == 1 else key


def _last(key: str) -> str:
    return key.removesuffix(".default").rpartition(".")[2]


def _varying_numbers(
    numbers: Sequence[Mapping[str, float]], words: Sequence[Sequence[str]]
) -> dict[str, tuple[float | None, ...]]:
    """The keys that take several numbers in configs of one yaml file, with their numbers in these configs.

    A number that follows another section (`${model.weight_decay}`) is in no name, and does not count.
    """
    found = {}
    for key in dict.fromkeys(key for each in numbers for key in each):
        by_file: dict[str, set[float]] = {}
        for each, parts in zip(numbers, words, strict=True):
            if key in each:
                by_file.setdefault(parts[0], set()).add(each[key])
        named = {parts[0] for parts in words if any(part.startswith(f"{key}=") for part in parts)}
        varied = {file for file, values in by_file.items() if len(values) > 1 and file in named}
        if varied:
            found[key] = tuple(
                each.get(key) if parts[0] in varied else None for each, parts in zip(numbers, words, strict=True)
            )
    return found


def _numbers(node: Any, above: str = "") -> dict[str, float]:
    """{"optimizer.lr": 0.1} of every number in nested mappings; masks are named as a whole and left out."""
    found: dict[str, float] = {}
    for name, item in node.items():
        key = f"{above}{name}"
        if isinstance(item, Mapping):
            found |= {} if name == "mask" else _numbers(item, f"{key}.")
        elif isinstance(number := canonical(item), int | float) and not isinstance(number, bool):
            found[key] = number
    return found
