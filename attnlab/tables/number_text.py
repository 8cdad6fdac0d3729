"""Numbers as a table prints them: `12.34 ± 0.56`, `-0.20 [-0.55, +0.15]`, `11.69 M`, `<0.001`."""

from typing import Protocol

from attnlab.tables.cell_runs import CellRuns
from attnlab.tables.metric_names import PERCENT

#: what a cell without a number shows
DASH = "–"


class HasInterval(Protocol):
    """A number with its 95 % interval; low and high are None where there is none."""

    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def number(value: float | None, digits: int = 2) -> str:
    """`1,234.50`, or a dash for None."""
    return DASH if value is None else f"{value:,.{digits}f}"


def size(value: float | None, metric: str) -> str:
    """The size of a difference. One of more than 100 points of an error in percent is impossible: `>100`."""
    return ">100" if value is not None and value > 100 and metric in PERCENT else number(value)


def count(value: float | None) -> str:
    """`78.00 k`, `11.69 M`, `4.09 G`, or a dash for None."""
    if value is None:
        return DASH
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.2f} {unit}"
    return f"{value:.0f}"


def mean_and_sd(runs: CellRuns, key: str, digits: int = 2) -> str:
    """`12.34 ± 0.56`; the mean only for one run; a dash for none.

    `(1 of 3)` follows where only one of three runs has the number, e.g. a score of attnlab.judge.
    """
    mean, sd, having = runs.mean(key), runs.sd(key), len(runs.values(key))
    if mean is None:
        return DASH
    incomplete = f" ({having} of {runs.n})" if having < runs.n else ""
    return f"{mean:.{digits}f}" + (f" ± {sd:.{digits}f}" if sd is not None else "") + incomplete


def mean_and_interval(value: HasInterval | None) -> str:
    """`-0.20 [-0.55, +0.15]`; the mean only where there is no interval; a dash for None."""
    if value is None:
        return DASH
    bounds = interval(value)
    return f"{value.mean:+.2f}" + (f" {bounds}" if bounds != DASH else "")


def interval(value: HasInterval | None) -> str:
    """`[-0.55, +0.15]`, or a dash for none."""
    if value is None or value.low is None or value.high is None:
        return DASH
    return f"[{value.low:+.2f}, {value.high:+.2f}]"


def p_value(value: float | None) -> str:
    """`0.031`, `<0.001`, or a dash for None."""
    return DASH if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def number_of_runs(n: int) -> str:
    """`1 run`, `2 runs`."""
    return f"{n} run{'s' * (n != 1)}"
