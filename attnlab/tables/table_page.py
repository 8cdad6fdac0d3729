"""The page of a comparison: an overview, a section for each column of the table, warnings and notes."""

from collections.abc import Callable, Mapping
from functools import partial

from attnlab.tables import latency
from attnlab.tables.answer import answer
from attnlab.tables.cell_result import CellResult
from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import decimals, metric_name
from attnlab.tables.number_text import DASH, count, interval, mean_and_interval, mean_and_sd, number, p_value, size
from attnlab.tables.page import Bold, Page, Section
from attnlab.tables.page_notes import page_notes
from attnlab.tables.page_warnings import page_warnings
from attnlab.tables.reproduction import minus_paper, reproduction
from attnlab.tables.same_setup import most_common_setup, with_setup
from attnlab.tables.spec import ABOUT

OVER_IMAGES = "over images [95 %]"


def table_page(comparison: Comparison) -> Page:
    """The page of a comparison."""
    table = comparison.grid.table
    results = comparison.results(comparison.metrics[0])
    sections = [_overview(comparison, results)] if len(comparison.grid.columns) > 1 else []
    sections += [_column(comparison, column) for column in comparison.grid.columns]
    return Page(
        comparison.grid.name,
        table.get("title") or comparison.grid.name,
        [(name, " ".join(str(table["about"][name]).split())) for name in ABOUT if table["about"].get(name)],
        list(page_warnings(comparison)),
        sections,
        list(page_notes(comparison, results)),
        answer(comparison),
    )


def _overview(comparison: Comparison, results: Mapping[tuple[str, str], CellResult]) -> Section:
    """The first metric, row by column; the paper's numbers in a line of their own under ours."""
    columns, rows = comparison.grid.columns, []
    for row in comparison.grid.rows:
        of_row = [results.get((row, column)) for column in columns]
        rows.append([row, *(_ours(result) if result else "" for result in of_row)])
        if any(result and result.paper for result in of_row):
            rows.append([f"{row}, paper", *(_paper(result) if result else "" for result in of_row)])
    return Section(metric_name(comparison.metrics[0]), ["", *columns], rows)


def _column(comparison: Comparison, column: str) -> Section:
    """Everything about one column of the table. A heading whose cells are all dashes is left out."""
    first, *others = comparison.metrics
    results = [result for key, result in comparison.results(first).items() if key[1] == column]
    setup = most_common_setup(comparison.records)
    fields: dict[str, Callable[[CellResult], str]] = {
        "": lambda result: result.cell.row,
        metric_name(first): _ours,
        "n": partial(_n, comparison),
        f"minus {comparison.baseline} [95 %]": lambda result: mean_and_interval(result.difference),
        OVER_IMAGES: lambda result: interval(comparison.over_images.get(result.key)),
        "verdict": lambda result: result.verdict or DASH,
        "p (Holm)": lambda result: p_value(result.p_holm),
        "detectable [90 %]": _detectable,
        "p (Wilcoxon)": lambda result: p_value(result.difference.wilcoxon if result.difference else None),
        "paper": _paper,
        "minus paper [95 %]": lambda result: mean_and_interval(minus_paper(result, comparison)),
        "against the paper": lambda result: reproduction(result, comparison) or DASH,
    }
    for metric in others:
        of_metric = comparison.results(metric)
        fields[metric_name(metric)] = partial(_of_other_metric, of_metric, _ours)
        fields[f"paper, {metric_name(metric)}"] = partial(_of_other_metric, of_metric, _paper)
    fields |= {
        "params": lambda result: count(result.runs.mean("params")),
        "MACs": lambda result: count(result.runs.mean("macs")),
        **{
            latency.heading(name, comparison.baseline): partial(_latency, comparison, name)
            for name in comparison.latency_columns
        },
        "images/s": lambda result: number(with_setup(result.runs, setup).median("images_per_second"), 0),
        "s a run": lambda result: number(with_setup(result.runs, setup).median("seconds"), 0),
    }
    cells = {name: [text(result) for result in results] for name, text in fields.items()}
    always = list(fields)[:4]
    if any(result.difference and result.difference.p is not None for result in results):
        always.append("verdict")  # a column of dashes shows that no verdict may be given
    kept = [name for name, texts in cells.items() if name in always or any(text != DASH for text in texts)]
    rows = [list(texts) for texts in zip(*(cells[name] for name in kept), strict=True)]
    return Section(
        column, kept, rows, [[(r["config"]["seed"], r["id"]) for r in result.runs.runs] for result in results]
    )


def _of_other_metric(
    results: Mapping[tuple[str, str], CellResult], text: Callable[[CellResult], str], result: CellResult
) -> str:
    return text(results[result.key])


def _latency(comparison: Comparison, column: str, result: CellResult) -> str:
    return str(comparison.latency(column, result.cell) or DASH)


def _n(comparison: Comparison, result: CellResult) -> str:
    """`3/5`; `3` for selected records, of which nothing says how many there were to be."""
    return str(result.runs.n) if comparison.grid.origin == "records" else f"{result.runs.n}/{result.wanted}"


def _ours(result: CellResult) -> str:
    text = mean_and_sd(result.runs, result.metric, decimals(result.metric))
    return Bold(text) if result.bold else text


def _detectable(result: CellResult) -> str:
    if result.detectable is None or result.detectable_range is None:
        return DASH
    low, high = result.detectable_range
    estimate, least, most = (size(value, result.metric) for value in (result.detectable, low, high))
    return f"{estimate} [{least}, {most}]"


def _paper(result: CellResult) -> str:
    paper = result.paper
    if paper is None:
        return DASH
    return f"{paper.error:.2f}" + (f" ± {paper.sd:.2f}" if paper.sd is not None else "") + "*" * paper.chosen_on_test
