"""What a table says, as text, before it is Markdown, LaTeX or HTML: one overview, a section a column, and notes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from attnlab.records import judgement
from attnlab.tables.comparison import Comparison
from attnlab.tables.entry import Entry
from attnlab.tables.footnotes import NOTHING, interval, metric_name, notes, warnings
from attnlab.tables.over_images import Interval
from attnlab.tables.overview import Row, count, spread
from attnlab.tables.same_setup import timed_alike, usual_setup
from attnlab.tables.spec import ABOUT
from attnlab.tables.statistics import Difference, against_published

ERROR = "test/top1_error"
OVER_IMAGES = "over images [95 %]"


class Bold(str):
    """Text that is set bold."""


@dataclass(frozen=True)
class Section:
    """Rows of text under a header; the first column holds labels."""

    title: str
    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Sheet:
    """A table as text. about: (name, text);  warnings: what a reader must know first;  notes: how to read it."""

    name: str
    title: str
    about: list[tuple[str, str]]
    warnings: list[str]
    sections: list[Section]
    notes: list[str]


def sheet(comparison: Comparison) -> Sheet:
    """The sheet of a comparison."""
    table = comparison.grid.table
    first = comparison.metrics[0]
    entries = comparison.entries(first)
    sections = [_overview(comparison, entries)] if len(comparison.grid.columns) > 1 else []
    sections += [_column(comparison, column) for column in comparison.grid.columns]
    return Sheet(
        comparison.grid.name,
        table.get("title") or comparison.grid.name,
        [(name, " ".join(str(table["about"][name]).split())) for name in ABOUT if table["about"].get(name)],
        list(warnings(comparison)),
        sections,
        list(notes(comparison, entries)),
    )


def _overview(comparison: Comparison, entries: Mapping[tuple[str, str], Entry]) -> Section:
    """Row by column, the first metric; the paper's numbers in a line of their own under ours."""
    columns, rows = comparison.grid.columns, []
    for row in comparison.grid.rows:
        there = [entries.get((row, column)) for column in columns]
        rows.append([row, *(_ours(entry) if entry else "" for entry in there)])
        if any(entry and entry.paper for entry in there):
            rows.append([f"{row}, paper", *(_paper(entry) if entry else "" for entry in there)])
    return Section(metric_name(comparison.metrics[0]), ["", *columns], rows)


def _column(comparison: Comparison, column: str) -> Section:
    first, *others = comparison.metrics
    entries = [entry for key, entry in comparison.entries(first).items() if key[1] == column]
    usual = usual_setup(comparison.records)
    fields: dict[str, Callable[[Entry], str]] = {
        "": lambda entry: entry.cell.row,
        metric_name(first): _ours,
        "n": lambda entry: f"{entry.runs.n}/{entry.wanted}",
        f"minus {comparison.baseline} [95 %]": lambda entry: interval(entry.difference),
        OVER_IMAGES: lambda entry: _over_images(comparison.over_images.get(entry.key)),
        "verdict": lambda entry: entry.verdict or NOTHING,
        "p (Holm)": lambda entry: _p(entry.p_holm),
        "detectable [90 %]": _detectable,
        "p (Wilcoxon)": lambda entry: _p(entry.difference.wilcoxon if entry.difference else None),
        "paper": _paper,
        "minus paper [95 %]": lambda entry: interval(_from_paper(entry, comparison)),
    }
    for metric in others:
        of_metric = comparison.entries(metric)
        fields[metric_name(metric)] = partial(_of_other, of_metric, _ours)
        fields[f"paper, {metric_name(metric)}"] = partial(_of_other, of_metric, _paper)
    fields |= {
        "params": lambda entry: count(entry.runs.mean("params")),
        "MACs": lambda entry: count(entry.runs.mean("macs")),
        "images/s": lambda entry: _number(timed_alike(entry.runs, usual).median("images_per_second"), 0),
        "s a run": lambda entry: _number(timed_alike(entry.runs, usual).median("seconds"), 0),
    }
    rows = {name: [text(entry) for entry in entries] for name, text in fields.items()}
    # where nothing may be judged, a column of dashes says so
    always = list(fields)[:4]
    if any(entry.difference and entry.difference.p is not None for entry in entries):
        always.append("verdict")
    kept = [name for name, texts in rows.items() if name in always or any(text != NOTHING for text in texts)]
    return Section(column, kept, [list(texts) for texts in zip(*(rows[name] for name in kept), strict=True)])


def _of_other(entries: Mapping[tuple[str, str], Entry], text: Callable[[Entry], str], entry: Entry) -> str:
    return text(entries[entry.key])


def _ours(entry: Entry) -> str:
    digits = judgement.digits(entry.metric) if entry.metric in judgement.METRICS else 2
    text = spread(entry.runs, entry.metric, 3 if entry.metric == "test/calibration_error" else digits)
    return Bold(text) if entry.bold else text


def _over_images(found: Interval | None) -> str:
    return NOTHING if found is None else f"[{found.low:+.2f}, {found.high:+.2f}]"


def _detectable(entry: Entry) -> str:
    if entry.detectable is None or entry.detectable_range is None:
        return NOTHING
    low, high = entry.detectable_range
    return f"{_number(entry.detectable)} [{_number(low)}, {_number(high)}]"


def _number(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _p(value: float | None) -> str:
    return NOTHING if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _paper(entry: Entry) -> str:
    paper = entry.paper
    if paper is None:
        return NOTHING
    return f"{paper.error:.2f}" + (f" ± {paper.sd:.2f}" if paper.sd is not None else "") + "*" * paper.chosen_on_test


def _from_paper(entry: Entry, comparison: Comparison) -> Difference | None:
    paper, values = entry.paper, entry.runs.values(entry.metric)
    if paper is None or not values or comparison.grid.changed:
        return None
    return against_published(values, paper.error, paper.sd, paper.runs)


def plain_rows(comparison: Comparison) -> list[dict[str, object]]:
    """A dict a metric, column and row, unrounded, for CSV."""
    return [
        _plain_row(comparison, metric, entry)
        for metric in comparison.metrics
        for entry in comparison.entries(metric).values()
    ]


def _plain_row(comparison: Comparison, metric: str, entry: Entry) -> dict[str, object]:
    having = [run for run in entry.runs.runs if run["metrics"].get(metric, run.get(metric)) is not None]
    runs = Row(entry.runs.attention, having)  # not all need have a judged score
    timed = timed_alike(entry.runs, usual_setup(comparison.records))
    images = comparison.over_images.get(entry.key) if metric == ERROR else None
    d, paper = entry.difference, entry.paper
    low, high = entry.detectable_range or (None, None)
    seeds: Sequence[int] = [run["config"]["seed"] for run in runs.runs]
    return {
        "metric": metric, "column": entry.cell.column, "row": entry.cell.row, "baseline": comparison.baseline,
        "n": runs.n, "wanted": entry.wanted, "mean": runs.mean(metric), "sd": runs.sd(metric),
        "difference": d and d.mean, "low": d and d.low, "high": d and d.high,
        "low_over_images": images and images.low, "high_over_images": images and images.high,
        "test": d and ("paired t" if d.paired else "Welch"), "p": d and d.p, "p_holm": entry.p_holm,
        "p_wilcoxon": d and d.wilcoxon, "detectable": entry.detectable, "detectable_low": low, "detectable_high": high,
        "bold": entry.bold, "verdict": entry.verdict, "margin": entry.margin,
        "p_equivalent": d and d.p_equivalent, "p_equivalent_holm": entry.p_equivalent,
        "paper": paper and paper.error, "paper_sd": paper and paper.sd, "paper_source": paper and paper.source,
        "params": entry.runs.mean("params"), "macs": entry.runs.mean("macs"),
        "images_per_second": timed.median("images_per_second"), "seconds": timed.median("seconds"),
        "seeds": " ".join(map(str, seeds)), "runs": " ".join(run["id"] for run in runs.runs),
    }  # fmt: skip
