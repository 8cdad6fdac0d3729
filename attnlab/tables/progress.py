"""Which runs of a table are recorded, which remain, and an estimate of how long the remaining ones take."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from attnlab.configuration.digest import digest
from attnlab.configuration.identity import cell, science
from attnlab.records.record import Record
from attnlab.tables.grid import Grid, RunKey

#: config of a run -> its expected seconds, or None
Estimate = Callable[[Mapping], float | None]


@dataclass(frozen=True)
class Progress:
    """A grid and the records there are, {run id: record}. Records of other runs only help to estimate durations."""

    grid: Grid
    records: Mapping[str, Record]

    @cached_property
    def done(self) -> dict[RunKey, Record]:
        """The recorded runs: {(row, column, seed): record}."""
        return {key: self.records[name] for key, name in self.grid.run_ids.items() if name in self.records}

    @cached_property
    def to_do(self) -> dict[RunKey, str]:
        """The runs that remain: {(row, column, seed): run id}, each id once."""
        remaining = {name: key for key, name in self.grid.run_ids.items() if name not in self.records}
        return {key: name for name, key in remaining.items()}

    def expected(self, seconds_of: Estimate = lambda config: None) -> tuple[float, int, int]:
        """(seconds that the remaining runs take one after another, runs without an estimate, runs by `seconds_of`).

        The estimate of a run is the median of its cell's other seeds, else of all runs that share its dataset, model,
        head and recipe, else `seconds_of` its config, which is None where it knows no rate.
        """
        known: dict[str, list[float]] = {}
        for record in self.records.values():
            for key in _estimate_keys(record["config"]):
                known.setdefault(key, []).append(record["seconds"])
        configs = {cell.run_id(seed): cell.config for seed in self.grid.seeds for cell in self.grid.cells}
        seconds, unknown, by_rate = 0.0, 0, 0
        for name in self.to_do.values():
            found = next((known[key] for key in _estimate_keys(configs[name]) if key in known), None)
            expected = median(found) if found else seconds_of(configs[name])
            seconds += expected or 0.0
            unknown += expected is None
            by_rate += expected is not None and not found
        return seconds, unknown, by_rate

    def heading(self, name: str, n_jobs: int, seconds_of: Estimate = lambda config: None, source: str = "") -> str:
        """One line: cells, runs, done, to do, expected time. seconds_of: see `expected`; source: of its rates."""
        seconds, unknown, by_rate = self.expected(seconds_of)
        ids = self.grid.run_ids
        runs, to_do = len(set(ids.values())), len(self.to_do)
        line = f"table {name}: {len({key[:2] for key in ids})} cells, {runs} runs, {runs - to_do} done, {to_do} to do"
        if to_do == 0:
            return line
        if unknown == to_do:
            return f"{line}; how long a run takes here is not known yet"
        rest = f" and {unknown} runs of unknown length" if unknown else ""
        return f"{line}, about {duration(seconds / min(n_jobs, to_do))}{f' {source}' if by_rate else ''}{rest}"


def _estimate_keys(config: Mapping) -> tuple[str, str]:
    """What runs of similar length share: their cell, else everything but attention and seed."""
    rest = {name: item for name, item in science(config).items() if name not in ("attention", "seed")}
    return cell(config), digest(rest)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for limit, unit, digits in ((172800, 86400, 1), (7200, 3600, 1), (90, 60, 0)):
        if seconds >= limit:
            return f"{seconds / unit:.{digits}f} {'days' if unit == 86400 else 'h' if unit == 3600 else 'min'}"
    return f"{seconds:.0f} s"


def progress_of(grid: Grid, records: Iterable[Record]) -> Progress:
    """The progress of a grid."""
    return Progress(grid, {record["id"]: record for record in records})
