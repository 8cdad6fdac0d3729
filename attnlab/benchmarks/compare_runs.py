"""Compare runs that were repeated on other hardware or in another precision: do their errors agree within seed noise?

Runs are paired by id, hence also by seed. Each cell gets the mean of the paired differences of the test error, its 95 %
interval, p of the paired t test (attnlab.tables.statistics), and the difference that so many seeds could detect.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from attnlab.configuration.identity import SECTIONS, cell
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError
from attnlab.records.record import Record, gather
from attnlab.tables.statistics import paired

METRIC = "test/top1_error"
#: keys of a record that may differ between the two runs of a pair
WHERE = ("device", "precision", "world_size", "batch_statistics", "commit")


@dataclass(frozen=True)
class Pairs:
    """One cell: the errors of both sides, in the order of the seeds."""

    name: str
    seeds: tuple[int, ...]
    one: tuple[float, ...]
    other: tuple[float, ...]

    def row(self) -> list[str]:
        """The printed columns: name, n, both means, difference [95 %], p, detectable."""
        d = paired(self.one, self.other)
        means = [f"{sum(errors) / len(errors):.2f}" for errors in (self.one, self.other)]
        if d.low is None or d.high is None or d.p is None:
            return [self.name, str(d.n), *means, f"{d.mean:+.2f}", "", ""]
        detectable = d.detectable()
        found = "" if detectable is None else f"{detectable:.2f}"
        return [self.name, str(d.n), *means, f"{d.mean:+.2f} [{d.low:+.2f}, {d.high:+.2f}]", f"{d.p:.2f}", found]


def same(one: str | Path, other: str | Path) -> dict[str, Any]:
    """Compare the runs that are recorded in both folders, as JSON data: {cells: pairs, sides: {key of WHERE: value}}.

    Raises ConfigError if the folders have no finished run in common.
    """
    sides = [{record["id"]: record for record in gather(folder)[0]} for folder in (one, other)]
    common = sorted(sides[0].keys() & sides[1].keys())
    if not common:
        raise ConfigError(f"same: no finished run is in both folders, {one} and {other}")
    cells: dict[str, list[str]] = {}
    for name in common:
        cells.setdefault(cell(sides[0][name]["config"]), []).append(name)
    pairs = []
    for names in cells.values():
        names.sort(key=lambda name: sides[0][name]["config"]["seed"])
        config = sides[0][names[0]]["config"]
        seeds = tuple(sides[0][name]["config"]["seed"] for name in names)
        errors = [tuple(side[name]["metrics"][METRIC] for name in names) for side in sides]
        title = ", ".join(name_of(s, config[s], config) for s in SECTIONS if s != "head")
        pairs.append(Pairs(title, seeds, errors[0], errors[1]))
    return {
        "cells": [asdict(pair) for pair in sorted(pairs, key=lambda pair: pair.name)],
        "sides": [_where([side[name] for name in common]) for side in sides],
        "versions": sides[0][common[0]]["versions"],
    }


def _where(records: Sequence[Record]) -> dict[str, str]:
    """{key of WHERE: the values of a side's runs, joined by commas}."""
    return {name: ", ".join(sorted({str(record.get(name)) for record in records})) for name in WHERE}


def markdown(found: dict[str, Any]) -> str:
    """The comparison as a Markdown table; below it what all runs have in common."""
    sides = found["sides"]
    differ = [name for name in WHERE if sides[0][name] != sides[1][name]] or ["device"]
    labels = ["; ".join(side[name] for name in differ) for side in sides]
    lines = [
        f"| | n | {labels[0]}: error % | {labels[1]}: error % | difference [95 %] | p | detectable |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for kept in found["cells"]:
        pair = Pairs(kept["name"], *(tuple(kept[key]) for key in ("seeds", "one", "other")))
        lines.append(f"| {' | '.join(pair.row())} |")
    alike = "; ".join(f"{name} {sides[0][name]}" for name in WHERE if name not in differ)
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return "\n".join([*lines, "", f"{alike}; {versions}", ""])
