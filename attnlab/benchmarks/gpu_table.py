"""The checks and bars of `bench gpu` as tables."""

import sys
from collections.abc import Mapping
from typing import Any

from attnlab.benchmarks.report import machine_line

HOLDS = {True: "yes", False: "NO", None: "-"}
CHECKS, BARS = ("check", "holds", "found"), ("bar", "asked", "found", "verdict")


def check_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The cells of CHECKS, a row for each check."""
    return [(check["name"], HOLDS[check["holds"]], check["found"]) for check in found["checks"]]


def bar_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The cells of BARS, a row for each bar."""
    return [
        (
            bar["name"],
            f"{'>=' if bar['at_least'] else '<='} {bar['asked']:,} {bar['unit']}",
            "-" if bar["found"] is None else f"{bar['found']:,.{0 if bar['at_least'] else 1}f}",
            bar["verdict"],
        )
        for bar in found["bars"]
    ]


def show(found: Mapping[str, Any]) -> None:
    """Print the checks, then the bars with their verdicts, then the machine."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 170)
    for title, header, rows in (
        ("a graph is the step", CHECKS, check_rows(found)),
        ("bars", BARS, bar_rows(found)),
    ):
        table = Table(title=title, title_justify="left")
        for name in header:
            table.add_column(name, justify="right" if header == BARS and name in ("asked", "found") else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(machine_line(found["machine"]), markup=False)


def markdown(found: Mapping[str, Any]) -> str:
    """The checks, the bars and the machine as Markdown."""
    lines = ["## gpu", ""]
    for header, rows in ((CHECKS, check_rows(found)), (BARS, bar_rows(found))):
        lines += [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
        lines += [*(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([*lines, machine_line(found["machine"]), ""])
