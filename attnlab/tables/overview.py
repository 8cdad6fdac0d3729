"""From records to tables: runs grouped by all but their seed, mean ± sample sd, n; text, Markdown and CSV."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attnlab.configuration.digest import digest
from attnlab.configuration.identity import SECTIONS, cell, science
from attnlab.configuration.names import name_of
from attnlab.records.record import Record
from attnlab.tables.provenance_notes import provenance_notes, provenance_warnings
from attnlab.tables.spec import METRICS


@dataclass(frozen=True)
class Row:
    """One cell of a grid: the runs of one config under several seeds."""

    attention: str
    runs: list[Record]

    @property
    def n(self) -> int:
        return len(self.runs)

    def values(self, key: str) -> list[float]:
        """A number of every run: a metric, or a record key; runs without it are left out."""
        found = [run["metrics"].get(key, run.get(key)) for run in self.runs]
        return [float(value) for value in found if value is not None]

    def mean(self, key: str) -> float | None:
        values = self.values(key)
        return float(np.mean(values)) if values else None

    def median(self, key: str) -> float | None:
        """Of times, which another program on the machine makes longer."""
        values = self.values(key)
        return float(np.median(values)) if values else None

    def sd(self, key: str) -> float | None:
        """Sample standard deviation (ddof = 1); None for fewer than two runs."""
        values = self.values(key)
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True)
class Table:
    """Rows that differ in their attention alone, on one dataset, model, head and recipe."""

    title: str
    classes: int
    rows: list[Row] = field(default_factory=list)

    @property
    def chance(self) -> float:
        """Top-1 error in percent of guessing one of the classes."""
        return 100 * (1 - 1 / self.classes)


def tabulate(records: Sequence[Record]) -> list[Table]:
    """One table for every dataset x model x head x recipe; rows from the cheapest attention up."""
    groups: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        config = record["config"]
        rest = {name: item for name, item in science(config).items() if name not in ("attention", "seed")}
        groups.setdefault(digest([rest, record["data_hash"]]), {}).setdefault(cell(config), []).append(record)
    titles = {key: _title(next(iter(cells.values()))[0]["config"]) for key, cells in groups.items()}
    result = []
    for key, found in sorted(groups.items(), key=lambda item: titles[item[0]]):
        runs = list(found.values())
        rows = [Row(name_of("attention", r[0]["config"]["attention"]), sorted(r, key=_seed)) for r in runs]
        rows.sort(key=lambda row: (row.mean("params") or 0, len(row.attention), row.attention))
        double = list(titles.values()).count(titles[key]) > 1  # of the same name, but of other images
        title = f"{titles[key]}, data {runs[0][0]['data_hash']}" if double else titles[key]
        result.append(Table(title, runs[0][0]["config"]["dataset"]["classes"], rows))
    return result


def _title(config: dict[str, Any]) -> str:
    names = {section: name_of(section, config[section], config) for section in SECTIONS if section != "attention"}
    if config.get("start_from"):
        names["start_from"] = config["start_from"]
    return ", ".join(f"{section}={name}" for section, name in names.items() if name != "linear")


def _seed(record: Record) -> int:
    return record["config"]["seed"]


def spread(row: Row, key: str, digits: int = 2) -> str:
    """`12.34 ± 0.56`, or the mean alone for one run, or a dash for none; with `(1 of 3)` after it where only one of
    three runs has the number, as a score of attnlab.judge."""
    mean, sd, there = row.mean(key), row.sd(key), len(row.values(key))
    if mean is None:
        return "–"
    of = f" ({there} of {row.n})" if there < row.n else ""
    return f"{mean:.{digits}f}" + (f" ± {sd:.{digits}f}" if sd is not None else "") + of


def count(value: float | None) -> str:
    """`78.0 k`, `11.69 M`, `4.09 G`, or a dash for none."""
    if value is None:
        return "–"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.2f} {unit}"
    return f"{value:.0f}"


HEADER = (
    "attention",
    "top-1 error %",
    "top-5 error %",
    "calibration error",
    "n",
    "params",
    "MACs",
    "images/s",
    "s a run",
)


def cells(row: Row) -> list[str]:
    """A row as text, under HEADER."""
    return [
        row.attention,
        spread(row, "test/top1_error"),
        spread(row, "test/top5_error"),
        spread(row, "test/calibration_error", 3),
        str(row.n),
        f"{row.mean('params') or 0:,.0f}",
        count(row.mean("macs")),
        spread(row, "images_per_second", 0).split(" ±")[0],
        spread(row, "seconds", 0).split(" ±")[0],
    ]


def caption(table: Table) -> str:
    """What the table's numbers are, on which machine."""
    runs = [run for row in table.rows for run in row.runs]
    devices = "; ".join(
        sorted({f"{run['device']}, {run['precision']}, {run['world_size']} process(es)" for run in runs})
    )
    commits = sorted({run["commit"][:7] + ("+changes" if run["dirty"] else "") for run in runs if run["commit"]})
    code = f", commit {', '.join(commits)}" if commits else ""
    torch = ", ".join(sorted({run["versions"]["torch"] for run in runs}))
    lines = [
        f"Test set, mean ± sample sd over n seeds; chance level {table.chance:.2f} % top-1 error.",
        f"images/s and seconds: training on {devices}. torch {torch}{code}.",
    ]
    return " ".join([*lines, *provenance_warnings(runs), *provenance_notes(runs)])


def markdown(tables: Sequence[Table]) -> str:
    """All tables as GitHub Markdown."""
    parts = []
    for table in tables:
        lines = ["| " + " | ".join(HEADER) + " |", "|---|" + "---:|" * (len(HEADER) - 1)]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in table.rows]
        parts.append(f"### {table.title}\n\n" + "\n".join(lines) + f"\n\n{caption(table)}\n")
    return "\n".join(parts)


def frame(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """A dict a row, unrounded, for CSV."""
    return [
        {"table": table.title, "attention": row.attention, "n": row.n}
        | {f"{key} {what}": getattr(row, what)(key) for key in METRICS for what in ("mean", "sd")}
        | {key: row.mean(key) for key in ("params", "macs", "images_per_second", "seconds", "peak_memory")}
        | {"chance/top1_error": table.chance, "runs": " ".join(run["id"] for run in row.runs)}
        for table in tables
        for row in table.rows
    ]
