"""The columns of a paper's table (table.paper_columns): what each shows, and how siunitx aligns it."""

from collections.abc import Callable
from dataclasses import dataclass

from attnlab.tables.cell_result import CellResult
from attnlab.tables.cell_runs import CellRuns
from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import decimals, metric_name
from attnlab.tables.spec import PAPER_COLUMNS

UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
HEADS = {"params": "params", "macs": "MACs", "n": "n", "p": "p (Holm)", "paper": "paper"}


@dataclass(frozen=True)
class PaperColumn:
    """key: of table.paper_columns, or a metric;  head: its heading, plain text;  spec: of the tabular;  letters: its
    width;  text: a cell as LaTeX, empty where there is nothing to show."""

    key: str
    head: str
    spec: str
    letters: int
    text: Callable[[CellResult], str]


def columns_of(comparison: Comparison, backbone: str) -> list[PaperColumn]:
    """The chosen columns for one backbone; by default the error, with costs and difference for a single backbone."""
    keys = comparison.grid.table.get("paper_columns")
    if keys is None:
        first = comparison.metrics[0]
        keys = [first] if len(comparison.grid.columns) > 1 else ["params", "macs", first, "difference"]
    return [_column(comparison, backbone, key) for key in keys]


def _column(comparison: Comparison, backbone: str, key: str) -> PaperColumn:
    results = [r for r in comparison.results(comparison.metrics[0]).values() if r.cell.column == backbone]
    if key in ("params", "macs"):
        return _costs(results, key)
    if key == "difference":
        head = f"minus {comparison.baseline} [95 %]"
        texts = [_difference(result) for result in results]
        return PaperColumn(key, head, "r", max([len(head), *(len(t.replace("$", "")) for t in texts)]), _difference)
    if key not in PAPER_COLUMNS:
        return _metric(comparison, backbone, key)
    texts_of: dict[str, Callable[[CellResult], str]] = {
        "n": lambda result: str(result.runs.n),
        "p": lambda result: "" if result.p_holm is None else _p(result.p_holm),
        "paper": lambda result: "" if result.paper is None else f"{result.paper.error:.2f}",
    }
    text = texts_of[key]
    return PaperColumn(key, HEADS[key], "r", max([len(HEADS[key]), *(len(text(r)) for r in results)]), text)


def _metric(comparison: Comparison, backbone: str, key: str) -> PaperColumn:
    """Mean and sample sd in an S column of siunitx: `10.22(20)` is printed as 10.22 ± 0.20."""
    places = decimals(key)
    results = comparison.results(key)
    runs = [result.runs for result in results.values() if result.cell.column == backbone]
    means = [abs(mean) for of in runs if (mean := of.mean(key)) is not None]
    sds = [sd for of in runs if (sd := of.sd(key)) is not None]
    whole = len(str(int(max(means, default=0))))
    uncertain = f"({len(_digits(max(sds), places))})" if sds else ""
    text = f"S[table-format={whole}.{places}{uncertain},table-space-text-post=\\paperspace]"
    head = metric_name(key)
    chosen = comparison.grid.table.get("paper_columns") or [key]
    over = backbone if backbone and len(chosen) == 1 else head  # a single column of a backbone has only its name
    letters = max(len(over), whole + places + 1 + (places + 4 if sds else 0) + 1)
    return PaperColumn(key, head, text, letters, lambda result: _mean_and_sd(results[result.key].runs, key, places))


def _mean_and_sd(runs: CellRuns, key: str, places: int) -> str:
    mean, sd = runs.mean(key), runs.sd(key)
    if mean is None:
        return ""
    return f"{mean:.{places}f}" + ("" if sd is None else f"({_digits(sd, places)})")


def _digits(sd: float, places: int) -> str:
    """A standard deviation in units of the last digit: 0.20 is 20 with two decimals."""
    return str(round(sd * 10**places))


def _costs(results: list[CellResult], key: str) -> PaperColumn:
    """Parameters or multiply-accumulates in one unit for the whole column."""
    values = [value for result in results if (value := result.runs.mean(key)) is not None]
    unit, sign = next((u for u in UNITS if max(values, default=0) >= u[0]), (1.0, ""))
    head = f"{HEADS[key]} ({sign})" if sign else HEADS[key]
    whole = len(str(int(max(values, default=0) / unit)))

    def text(result: CellResult) -> str:
        value = result.runs.mean(key)
        return "" if value is None else f"{value / unit:.2f}"

    return PaperColumn(key, head, f"S[table-format={whole}.2]", max(len(head), whole + 3), text)


def _difference(result: CellResult) -> str:
    d = result.difference
    if d is None:
        return ""
    bounds = "" if d.low is None or d.high is None else f" $[{d.low:+.2f}, {d.high:+.2f}]$"
    return f"${d.mean:+.2f}$" + bounds


def _p(value: float) -> str:
    return "$<$0.001" if value < 0.001 else f"{value:.3f}"
