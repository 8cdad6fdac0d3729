"""The report of a benchmark: rows of times, their ratios, and the machine on which they were measured."""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from attnlab.errors import ConfigError
from attnlab.records.record import write_json

UNITS = ("x", "extra", "share")


@dataclass(frozen=True)
class Spread:
    """Median, first quartile (low) and third quartile (high)."""

    median: float
    low: float
    high: float


def spread(numbers: Sequence[float]) -> Spread:
    """Median and quartiles, by the inclusive method: minimum and maximum are the 0 % and 100 % points."""
    if len(numbers) == 1:
        return Spread(numbers[0], numbers[0], numbers[0])
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return Spread(middle, low, high)


@dataclass(frozen=True)
class Row:
    """One comparison of two sides that were timed in the same rounds.

    case: what was timed;  seconds: {side: seconds per call, one number per round}, equally many for all sides;
    of, over: the two sides; the ratio is seconds[of] / seconds[over] in each round;
    unit: the printed form of the ratio: `x` as 2.50x, `extra` as ratio - 1, +15.0 %, `share` as 2.0 %;
    target: the ratio that should be reached, as text, "" = none;  facts: other values to print: sizes, settings, rates.
    """

    case: str
    seconds: Mapping[str, Sequence[float]]
    of: str
    over: str
    unit: str = "x"
    target: str = ""
    facts: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.unit in UNITS, self.unit
        assert len({len(times) for times in self.seconds.values()}) == 1, "every side needs one time per round"

    def ratios(self) -> list[float]:
        """seconds[of] / seconds[over] of each round; a slow phase of the machine affects both and cancels."""
        return [a / b for a, b in zip(self.seconds[self.of], self.seconds[self.over], strict=True)]

    def ratio(self) -> Spread:
        """Median and quartiles of the ratios over the rounds."""
        return spread(self.ratios())

    def times(self) -> dict[str, Spread]:
        """{side: median and quartiles of its seconds over the rounds}."""
        return {side: spread(times) for side, times in self.seconds.items()}


@dataclass(frozen=True)
class Report:
    """The measurements of one command of attnlab.bench.

    command: its name;  title: what is compared;  rows: in the printed order;  machine: from
    `attnlab.benchmarks.options.describe`;  summary: {name: value}, one line each below the table.
    """

    command: str
    title: str
    rows: Sequence[Row]
    machine: Mapping[str, Any]
    summary: Mapping[str, str | int | float] = field(default_factory=dict)


def content(report: Report) -> dict[str, Any]:
    """The report as JSON data; each row also has its medians and quartiles."""
    rows = [
        asdict(row)
        | {"ratio": asdict(row.ratio()), "median_seconds": {side: s.median for side, s in row.times().items()}}
        | {"quartiles_seconds": {side: [s.low, s.high] for side, s in row.times().items()}}
        for row in report.rows
    ]
    return {"command": report.command, "title": report.title, "machine": dict(report.machine)} | {
        "rows": rows, "summary": dict(report.summary),
    }  # fmt: skip


def write_report(report: Report, path: Path) -> None:
    """Write the report as JSON. Raises ConfigError if the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content(report))
    except OSError as error:
        raise ConfigError(f"cannot be written ({error.strerror}): json={path}") from error


def read_report(path: Path) -> Report:
    """Read a written report; medians and quartiles are computed again from its times."""
    kept = json.loads(path.read_text())
    names = ("case", "seconds", "of", "over", "unit", "target", "facts")
    rows = [Row(**{name: row[name] for name in names}) for row in kept["rows"]]
    return Report(kept["command"], kept["title"], rows, kept["machine"], kept["summary"])


def ratio_text(spread: Spread, unit: str) -> tuple[str, str]:
    """(median, quartiles) of a ratio as text; unit: see Row."""
    if unit == "x":
        return f"{spread.median:.2f}x", f"{spread.low:.2f}-{spread.high:.2f}"
    less = 1 if unit == "extra" else 0
    sign = "+" if unit == "extra" else ""
    low, middle, high = (100 * (value - less) for value in (spread.low, spread.median, spread.high))
    return f"{middle:{sign}.1f} %", f"{low:{sign}.1f} to {high:{sign}.1f}"


def _scale(seconds: float) -> tuple[float, str]:
    return next(((s, unit) for s, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")) if seconds * s >= 1), (1e6, "us"))


def median_text(spread: Spread) -> str:
    """The median of a time in s, ms or us, as text."""
    scale, unit = _scale(spread.median)
    return f"{spread.median * scale:.3g} {unit}"


def time_text(spread: Spread) -> str:
    """The median of a time with its quartiles in s, ms or us, as text."""
    scale, unit = _scale(spread.median)
    return f"{spread.median * scale:.3g} ({spread.low * scale:.3g}-{spread.high * scale:.3g}) {unit}"


def show(report: Report) -> None:
    """Print the table to the terminal, ratio first, then its summary and one line on the machine."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 170)
    targets = any(row.target for row in report.rows)
    where = f", on {measured_on(report.machine)}" if "matrix_units" in report.machine else ""
    drawn = Table(title=Text(f"{report.title}{where}"), title_justify="left")
    for name in ("ratio", "quartiles", *(["target"] if targets else [])):
        drawn.add_column(name, justify="right", no_wrap=True)
    for name in ("of / over", "case", "median (quartiles)", "facts"):
        drawn.add_column(name, no_wrap=name == "of / over")
    for row in report.rows:
        times = ", ".join(f"{side} {time_text(row.times()[side])}" for side in (row.of, row.over))
        facts = ", ".join(f"{name} {_fact(value)}" for name, value in row.facts.items())
        target = [row.target] if targets else []
        cells = [*ratio_text(row.ratio(), row.unit), *target, f"{row.of} / {row.over}", row.case, times, facts]
        drawn.add_row(*map(Text, cells))
    console.print(drawn)
    for name, value in report.summary.items():
        console.print(Text(f"{name}: {_fact(value)}"))
    console.print(Text(machine_line(report.machine)))


def markdown(report: Report) -> str:
    """The table and the machine as Markdown, ratio first."""
    lines = [f"## {report.command}", "", f"{report.title[0].upper()}{report.title[1:]}.", ""]
    if "matrix_units" in report.machine:  # older files do not have it
        lines[-1:] = [f"Measured on {measured_on(report.machine)}.", ""]
    lines += ["| ratio | quartiles | of / over | case | medians |", "|---:|---:|---|---|---|"]
    for row in report.rows:
        ratio, quartiles = ratio_text(row.ratio(), row.unit)
        times = ", ".join(f"{side} {median_text(row.times()[side])}" for side in (row.of, row.over))
        facts = "".join(f"; {name} {_fact(value)}" for name, value in row.facts.items())
        lines.append(f"| **{ratio}** | {quartiles} | {row.of} / {row.over} | {row.case} | {times}{facts} |")
    lines += ["", *(f"- {name}: {_fact(value)}" for name, value in report.summary.items())]
    return "\n".join([*lines, "", f"{machine_line(report.machine)}", ""])


def measured_on(machine: Mapping[str, Any]) -> str:
    """The device, and what multiplies bfloat16 on a CPU: `Intel(R) Xeon(R) Processor, 2 cores, with AMX`."""
    units = machine.get("matrix_units")
    return f"{machine['device']}{f', with {units}' if units else ''}"


def _fact(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value


def machine_line(machine: Mapping[str, Any]) -> str:
    """Machine, threads, settings, versions, commit and command in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in sorted(machine["versions"].items()))
    commit = f"{(machine['commit'] or 'no commit')[:9]}{' (dirty)' if machine['dirty'] else ''}"
    layout = "channels_last" if machine["channels_last"] else "NCHW"
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    parts = (machine["device"], threads, machine["precision"], layout, versions, commit, machine["command"])
    return "; ".join(map(str, parts))
