"""The runs of one cell of a table: one config, trained under several seeds."""

from dataclasses import dataclass

import numpy as np

from attnlab.records.record import Record


@dataclass(frozen=True)
class CellRuns:
    """The records of one config under several seeds. label: what the table calls them."""

    label: str
    runs: list[Record]

    @property
    def n(self) -> int:
        return len(self.runs)

    def having(self, key: str) -> "CellRuns":
        """The runs that have a metric, or a record key: not every run need have a score of attnlab.judge."""
        return CellRuns(self.label, [run for run in self.runs if _value(run, key) is not None])

    def values(self, key: str) -> list[float]:
        """A metric, or a record key, of every run that has it."""
        return [float(value) for run in self.runs if (value := _value(run, key)) is not None]

    def by_seed(self, key: str) -> dict[int, float]:
        """{seed: a metric, or a record key} of every run that has it."""
        return {run["config"]["seed"]: float(v) for run in self.runs if (v := _value(run, key)) is not None}

    def mean(self, key: str) -> float | None:
        values = self.values(key)
        return float(np.mean(values)) if values else None

    def median(self, key: str) -> float | None:
        """Median over runs; use it for timings, which other processes inflate."""
        values = self.values(key)
        return float(np.median(values)) if values else None

    def sd(self, key: str) -> float | None:
        """Sample standard deviation (ddof = 1); None for fewer than two runs."""
        values = self.values(key)
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _value(run: Record, key: str) -> float | None:
    return run["metrics"].get(key, run.get(key))
