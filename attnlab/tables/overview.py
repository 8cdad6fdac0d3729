"""All records as tables: one table a dataset, model, head and recipe; one row an attention: mean ± sample sd, n."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from attnlab.configuration.digest import digest
from attnlab.configuration.identity import SECTIONS, cell, science
from attnlab.configuration.names import name_of
from attnlab.records.record import Record
from attnlab.tables.cell_runs import CellRuns
from attnlab.tables.formats import markdown_table
from attnlab.tables.number_text import count, mean_and_sd
from attnlab.tables.page import Section
from attnlab.tables.provenance_notes import provenance_notes, provenance_warnings
from attnlab.tables.spec import METRICS


@dataclass(frozen=True)
class Table:
    """Rows that differ only in their attention, on one dataset, model, head and recipe."""

    title: str
    classes: int
    rows: list[CellRuns] = field(default_factory=list)

    @property
    def chance(self) -> float:
        """Top-1 error in percent of guessing one of the classes."""
        return 100 * (1 - 1 / self.classes)


def tabulate(records: Sequence[Record]) -> list[Table]:
    """One table for every dataset x model x head x recipe; rows by number of parameters."""
    groups: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        config = record["config"]
        rest = {name: item for name, item in science(config).items() if name not in ("attention", "seed")}
        groups.setdefault(digest([rest, record["data_hash"]]), {}).setdefault(cell(config), []).append(record)
    titles = {key: _title(next(iter(cells.values()))[0]["config"]) for key, cells in groups.items()}
    result = []
    for key, found in sorted(groups.items(), key=lambda item: titles[item[0]]):
        runs = list(found.values())
        rows = [CellRuns(name_of("attention", r[0]["config"]["attention"]), sorted(r, key=_seed)) for r in runs]
        rows.sort(key=lambda row: (row.mean("params") or 0, len(row.label), row.label))
        ambiguous = list(titles.values()).count(titles[key]) > 1  # one title, but other images
        title = f"{titles[key]}, data {runs[0][0]['data_hash']}" if ambiguous else titles[key]
        result.append(Table(title, runs[0][0]["config"]["dataset"]["classes"], rows))
    return result


def _title(config: dict[str, Any]) -> str:
    names = {section: name_of(section, config[section], config) for section in SECTIONS if section != "attention"}
    if config.get("start_from"):
        names["start_from"] = config["start_from"]
    return ", ".join(f"{section}={name}" for section, name in names.items() if name != "linear")


def _seed(record: Record) -> int:
    return record["config"]["seed"]


HEADER = [
    "attention", "top-1 error %", "top-5 error %", "calibration error", "n", "params", "MACs", "images/s", "s a run",
]  # fmt: skip


def section(table: Table) -> Section:
    """A table as text."""
    return Section(table.title, HEADER, [_texts(row) for row in table.rows])


def _texts(row: CellRuns) -> list[str]:
    return [
        row.label,
        mean_and_sd(row, "test/top1_error"),
        mean_and_sd(row, "test/top5_error"),
        mean_and_sd(row, "test/calibration_error", 3),
        str(row.n),
        f"{row.mean('params') or 0:,.0f}",
        count(row.mean("macs")),
        mean_and_sd(row, "images_per_second", 0).split(" ±")[0],
        mean_and_sd(row, "seconds", 0).split(" ±")[0],
    ]


def caption(table: Table) -> str:
    """What the table's numbers are, and on which machine they were measured."""
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
    return "\n".join(
        f"### {table.title}\n\n{markdown_table(HEADER, section(table).rows)}\n\n{caption(table)}\n" for table in tables
    )


def csv_rows(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """A dict a row, unrounded."""
    return [
        {"table": table.title, "attention": row.label, "n": row.n}
        | {f"{key} {what}": getattr(row, what)(key) for key in METRICS for what in ("mean", "sd")}
        | {key: row.mean(key) for key in ("params", "macs", "images_per_second", "seconds", "peak_memory")}
        | {"chance/top1_error": table.chance, "runs": " ".join(run["id"] for run in row.runs)}
        for table in tables
        for row in table.rows
    ]
