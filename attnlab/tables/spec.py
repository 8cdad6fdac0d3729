"""The keys and values that conf/table/NAME.yaml may have under `table`, checked before anything runs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attnlab.errors import ConfigError
from attnlab.records import judgement
from attnlab.tables import latency

KEYS = ("title", "about", "rows", "columns", "seeds", "metrics", "margin", "baseline", "same", "paper", "paper_columns")
#: columns of a paper's table, besides the table's metrics
PAPER_COLUMNS = ("params", "macs", "n", "difference", "p", "paper")
ABOUT = ("source", "protocol", "departures", "cost")
METRICS = ("test/top1_error", "test/top5_error", "test/loss", "test/calibration_error")
#: what a paper's numbers are: error or accuracy, and on which images the paper chose the epoch that it prints;
#: margin: within it they count as reproduced
PAPER: dict[str, tuple[str, ...]] = {
    "source": (), "gives": ("error", "accuracy"), "chosen": ("test", "validation", "last", "unknown"), "runs": (),
    "values": (), "missing": (), "margin": (),
}  # fmt: skip


def check_table(name: str, table: Any) -> dict[str, Any]:
    """The declaration with its defaults filled in. Raises ConfigError if it is not valid."""
    if isinstance(table, Mapping) and isinstance(rows := table.get("rows"), Mapping):
        # null removes a row that this table inherits from another one
        table = {**table, "rows": {label: overrides for label, overrides in rows.items() if overrides is not None}}
    if not isinstance(table, Mapping) or not table.get("rows"):
        raise ConfigError(f"table={name}: table.rows is missing; allowed is {{label: [overrides]}}")
    if unknown := [key for key in table if key not in KEYS]:
        raise ConfigError(f"table.{unknown[0]}: no such key; allowed are {', '.join(KEYS)}")
    declared = {"columns": {"": []}, "same": [], "metrics": ["test/top1_error"], "about": {}, "paper": {}} | {
        key: value for key, value in table.items() if value is not None
    }
    if not isinstance(declared.get("title", ""), str):
        raise ConfigError(f"wrong value table.title={declared['title']}; allowed is a text")
    for key, known in (("about", ABOUT), ("paper", METRICS)):
        node = declared[key]
        if not isinstance(node, Mapping) or [name for name in node if name not in known]:
            raise ConfigError(f"wrong value table.{key}={node}; allowed is a mapping with {', '.join(known)}")
    metrics = declared["metrics"]
    if not isinstance(metrics, list) or not metrics or metrics[0] not in METRICS:
        raise ConfigError(
            f"wrong value table.metrics={metrics}; allowed is a list; the first gets verdicts and is one of "
            f"{', '.join(METRICS)}"
        )
    known_metrics = (*METRICS, *judgement.METRICS)
    if unknown := [name for name in metrics if name not in known_metrics and not latency.is_latency(str(name))]:
        raise ConfigError(
            f"table.metrics: {unknown[0]}: unknown; allowed are {', '.join(METRICS)}; latencies: {latency.ALLOWED}; "
            f"and the scores of attnlab.judge: {', '.join(judgement.METRICS)}"
        )
    check_paper_columns(declared.get("paper_columns"), metrics)
    margin = declared.get("margin")
    if margin is not None and not _is_margin(margin):
        raise ConfigError(
            f"wrong value table.margin={margin}; allowed is a number above 0, in the units of {metrics[0]} (points "
            "of error, say), "
            "within which a row counts as equivalent to the baseline; or null"
        )
    if not isinstance(declared["same"], list) or not all(isinstance(group, list) for group in declared["same"]):
        raise ConfigError(f"wrong value table.same={declared['same']}; allowed is a list of lists of rows")
    for kind in ("rows", "columns"):
        if not isinstance(declared[kind], Mapping):
            raise ConfigError(f"wrong value table.{kind}={declared[kind]}; allowed is {{label: [overrides]}}")
        for label, overrides in declared[kind].items():
            if not isinstance(overrides, list) or not all(isinstance(item, str) for item in overrides):
                raise ConfigError(
                    f"wrong value table.{kind}.{label}={overrides}; allowed is a list of overrides, [key=value]"
                )
    seeds = declared.get("seeds")
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise ConfigError(f"wrong value table.seeds={seeds}; allowed is a list of integers from 0")
    if double := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise ConfigError(f"table.seeds={seeds}: seed {double[0]} is listed twice")
    rows = list(declared["rows"])
    baseline = declared.setdefault("baseline", rows[0])
    named = [baseline, *(label for group in declared["same"] for label in group)]
    for label in named:
        if label not in rows:
            key = "baseline" if label == baseline else "same"
            raise ConfigError(f"table.{key}: {label}: unknown row; the table has {', '.join(rows)}")
    declared["paper"] = {metric: _check_paper(metric, block, declared) for metric, block in declared["paper"].items()}
    return dict(declared)


def _is_margin(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < float("inf")


def check_paper_columns(chosen: Any, metrics: Sequence[str]) -> list[str] | None:
    """The columns of a paper's table, checked. metrics: those of the table. Raises ConfigError."""
    columns = (*PAPER_COLUMNS, *(name for name in metrics if not latency.is_latency(name)))
    if chosen is not None and (not isinstance(chosen, list) or not chosen or [c for c in chosen if c not in columns]):
        raise ConfigError(f"wrong value table.paper_columns={chosen}; allowed is a list of {', '.join(columns)}")
    return chosen


def _check_paper(metric: str, block: Any, table: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that a paper prints for a metric, checked: {row: {column: number}}, column "" without columns."""
    where = f"table.paper.{metric}"
    if not isinstance(block, Mapping) or not block.get("source"):
        raise ConfigError(f"{where}.source: missing; every number needs a source")
    if unknown := [key for key in block if key not in PAPER]:
        raise ConfigError(f"{where}.{unknown[0]}: no such key; allowed are {', '.join(PAPER)}")
    for key in ("gives", "chosen"):
        if block.get(key) not in PAPER[key]:
            raise ConfigError(
                f"wrong value {where}.{key}={block.get(key) or 'null'}; allowed are {', '.join(PAPER[key])}"
            )
    margin = block.get("margin")
    if margin is not None and not _is_margin(margin):
        raise ConfigError(
            f"wrong value {where}.margin={margin}; allowed is a number above 0, in the units of {metric}, or null"
        )
    values = {}
    for row, given in (block.get("values") or {}).items():
        values[row] = given if isinstance(given, Mapping) else {"": given}
        for kind, labels in (("rows", [row]), ("columns", values[row])):
            for wrong in [label for label in labels if label not in table[kind]]:
                raise ConfigError(f"{where}: {wrong}: unknown; {kind} are {', '.join(table[kind])}")
        for column, printed in values[row].items():
            if printed is not None and not re.fullmatch(r"\d+(\.\d+)?( ± \d*\.\d+)?", str(printed)):
                raise ConfigError(
                    f"wrong value {where}: {row}, {column}: {printed}; allowed are 92.33, 92.33 ± 0.19, null"
                )
    return dict(block) | {"values": values}
