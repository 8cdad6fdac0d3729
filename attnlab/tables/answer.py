"""What a table says about its baseline, in words: which rows are better, worse, equivalent, undecided."""

from collections.abc import Sequence

from attnlab.tables.cell_result import CellResult
from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import metric_name
from attnlab.tables.number_text import mean_and_interval, number_of_runs, size
from attnlab.tables.page_warnings import in_column

#: one sentence names so many rows
MOST_ROWS = 10


def answer(comparison: Comparison) -> list[str]:
    """A few sentences on the first metric: for each kind of verdict its rows, with difference and 95 % interval."""
    results = comparison.results(comparison.metrics[0])
    compared = [result for result in results.values() if result.difference]
    if not compared:
        return [_nothing_compared(comparison)]
    if not comparison.is_complete:
        so_far = f"So far, {metric_name(comparison.metrics[0])} minus that of {comparison.baseline}"
        return [f"No verdict yet: {_incomplete(comparison)}.", f"{so_far}: {_rows(compared)}."]
    by_verdict: dict[str, list[CellResult]] = {}
    for result in compared:
        by_verdict.setdefault(_kind(result), []).append(result)
    lines = []
    for kind, text in _kinds(comparison).items():
        if found := by_verdict.get(kind):
            lines.append(f"{text}: {_rows(found)}.{_detectable(found) if kind == 'undecided' else ''}")
    return lines


def _incomplete(comparison: Comparison) -> str:
    """What is missing: runs, or seeds that were not selected."""
    grid = comparison.grid
    if not comparison.missing:
        return f"{len(grid.seeds)} of the {grid.declared_seeds} declared seeds are selected"
    runs = len(set(grid.run_ids.values()))
    return f"{runs - comparison.missing} of {number_of_runs(runs)} are recorded"


def _kind(result: CellResult) -> str:
    """better, worse, equivalent, undecided, or why the difference was not tested: setup, equal, few."""
    if result.verdict:
        return result.verdict.split()[0].rstrip(",")
    d = result.difference
    if d is None or min(d.n, d.n_baseline) < 2:
        return "few"
    return "equal" if d.p is None else "setup"


def _kinds(comparison: Comparison) -> dict[str, str]:
    """{kind of verdict: how its sentence begins}, in the order of the sentences."""
    baseline = comparison.baseline
    margin = "" if comparison.margin is None else f" within ±{comparison.margin:g}"
    return {
        "better": f"Better than {baseline} in {metric_name(comparison.metrics[0])}",
        "worse": f"Worse than {baseline} in {metric_name(comparison.metrics[0])}",
        "equivalent": f"Equivalent to {baseline}{margin}",
        "undecided": f"Undecided against {baseline}",
        "equal": f"Not tested against {baseline}, since all differences are equal and so have no spread",
        "few": f"Not tested against {baseline}, for fewer than two common seeds",
        "setup": f"Not tested against {baseline}, since trained under another setup",
    }


def _rows(results: Sequence[CellResult]) -> str:
    """`SE -0.20 [-0.55, +0.15], CBAM in ResNet-20 ...`; those with the largest differences first."""
    ordered = sorted(results, key=lambda r: -abs(r.difference.mean) if r.difference else 0)
    texts = [f"{r.cell.row}{in_column(r.cell.column)} {mean_and_interval(r.difference)}" for r in ordered[:MOST_ROWS]]
    more = f" and {len(results) - MOST_ROWS} more" if len(results) > MOST_ROWS else ""
    return ", ".join(texts) + more


def _detectable(results: Sequence[CellResult]) -> str:
    """The sentence on the smallest differences that the seeds of these rows detect."""
    found = [result.detectable for result in results if result.detectable is not None]
    if not found:
        return ""
    low, high = (size(value, results[0].metric) for value in (min(found), max(found)))
    if low == ">100":
        return " So few seeds find no possible difference (80 % power); undecided does not mean equal."
    sizes = low if low == high else f"{low} to {high}"
    by_row = "" if low == high else ", depending on the row"
    smallest = f"The smallest difference that these seeds detect is {sizes}{by_row} (80 % power)"
    return f" {smallest}; undecided does not mean equal."


def _nothing_compared(comparison: Comparison) -> str:
    """Why there is no difference at all."""
    if len(comparison.grid.rows) == 1:
        return "One row, so nothing is compared."
    baseline, metric = comparison.baseline, comparison.metrics[0]
    having = [cell for cell in comparison.grid.cells if comparison.runs(cell).by_seed(metric)]
    of_baseline = {cell.column for cell in having if cell.row == baseline}
    if not of_baseline:
        return f"Nothing to compare: the baseline, {baseline}, has no runs here."
    others = [cell for cell in having if cell.row != baseline]
    if not others:
        return f"Nothing to compare: only the baseline, {baseline}, has runs here."
    if not any(cell.column in of_baseline for cell in others):
        return f"Nothing to compare: the baseline, {baseline}, has no runs in the columns of the other rows."
    return f"Nothing to compare: no row shares a seed with the baseline, {baseline}."
