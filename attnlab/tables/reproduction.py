"""Do runs reproduce the number that a paper prints? Welch's interval, and equivalence within a declared margin."""

from collections.abc import Iterator

from attnlab.tables.cell_result import CellResult
from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import metric_name
from attnlab.tables.statistics import ALPHA, Difference, against_published


def minus_paper(result: CellResult, comparison: Comparison) -> Difference | None:
    """Our runs minus the paper's number; None for a table whose protocol was changed."""
    paper, values = result.paper, result.runs.values(result.metric)
    if paper is None or not values or comparison.grid.changed:
        return None
    return against_published(values, paper.error, paper.sd, paper.runs, _margin(result, comparison))


def reproduction(result: CellResult, comparison: Comparison) -> str | None:
    """`reproduced within ±M`, `not reproduced` or `undecided`; each cell by itself, not corrected for their number.

    Reproduced: two one-sided t tests (Welch) at 5 % show that the true difference lies within ±M,
    `table.paper.METRIC.margin`. Not reproduced: the 95 % interval lies outside of ±M. None if runs are missing, if the
    paper prints no standard deviation over runs, or if the table declares no margin.
    """
    d, margin = minus_paper(result, comparison), _margin(result, comparison)
    if d is None or d.low is None or d.high is None or margin is None or result.runs.n < result.wanted:
        return None
    if d.p_equivalent is not None and d.p_equivalent <= ALPHA:
        return f"reproduced within ±{margin:g}"
    return "not reproduced" if d.low > margin or d.high < -margin else "undecided"


def reproduction_notes(comparison: Comparison, metric: str) -> Iterator[str]:
    """What `against the paper` means; or why a cell that is complete has no verdict of this kind."""
    results = comparison.results(metric).values()
    if any(reproduction(result, comparison) for result in results):
        yield (
            f"against the paper, {metric_name(metric)}: reproduced within ±M where two one-sided t tests (Welch) at "
            f"{100 * ALPHA:g} % show that the true difference from the paper's number lies within ±M, the margin that "
            "the table declares for it; not reproduced where the 95 % interval lies outside of ±M; else undecided. "
            "Each cell by itself, not corrected for their number."
        )
    complete = [result for result in results if result.runs.n == result.wanted and minus_paper(result, comparison)]
    if any(result.paper and (result.paper.sd is None or (result.paper.runs or 1) < 2) for result in complete):
        yield (
            "The paper prints no standard deviation over runs, so nothing says whether a difference from its "
            f"{metric_name(metric)} is more than chance."
        )
    elif complete and _margin(complete[0], comparison) is None:
        yield (
            f"Not judged against the paper: the table declares no margin (table.paper.{metric}.margin) within which "
            f"its {metric_name(metric)} would count as reproduced."
        )


def _margin(result: CellResult, comparison: Comparison) -> float | None:
    block = comparison.grid.table["paper"].get(result.metric) or {}
    return block.get("margin")
