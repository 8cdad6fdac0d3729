"""The caption of a paper's table: what its numbers, its bold type and its marks are."""

from collections.abc import Iterator

from attnlab.tables.comparison import Comparison
from attnlab.tables.metric_names import metric_name
from attnlab.tables.page_warnings import page_warnings
from attnlab.tables.power_analysis import ALPHA

#: word of a verdict -> (its mark in LaTeX, what it means; {margin} is the margin)
MARKS = {
    "better": (r"\textsuperscript{*}", "better"),
    "worse": (r"\textsuperscript{\dag}", "worse"),
    "within": (r"\textsuperscript{\ddag}", "equivalent within ±{margin:g} (two one-sided t tests)"),
}
#: the same marks in a caption, where the text is escaped
SIGNS = {"better": "*", "worse": "†", "within": "‡"}
#: warnings that a reader of the paper must see
SHOWN = ("Not the protocol", "Unfinished", "No bold and no verdict for")


def caption(comparison: Comparison) -> str:
    """One paragraph of plain text."""
    return " ".join(_sentences(comparison))


def _sentences(comparison: Comparison) -> Iterator[str]:
    title = comparison.grid.table.get("title") or comparison.grid.name
    counts = sorted({runs.n for cell in comparison.grid.cells if (runs := comparison.runs(cell)).n})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0] if counts else 0)
    first = metric_name(comparison.metrics[0])
    yield f"{title}. {first[0].upper()}{first[1:]}: mean ± sample standard deviation over {seeds} seeds."
    yield from (warning for warning in page_warnings(comparison) if warning.startswith(SHOWN))
    results = comparison.results(comparison.metrics[0]).values()
    differences = [result.difference for result in results if result.difference and result.difference.p is not None]
    if not differences or not any(result.verdict for result in results):
        yield "Without marks and bold type: nothing was tested."
        return
    paired = {d.paired for d in differences}
    test = {
        frozenset({True}): "paired t test over seeds", frozenset({False}): "Welch's t test",
        frozenset({True, False}): "paired t test over seeds, Welch's where backbone or recipe differ",
    }[frozenset(paired)]  # fmt: skip
    used = {word: meaning for word, (_, meaning) in MARKS.items() if any(word in (r.verdict or "") for r in results)}
    level = (
        f"two-sided {test}, p ≤ {ALPHA} after Holm's correction over {comparison.comparisons} "
        f"comparison{'s' * (comparison.comparisons != 1)}"
    )
    if used:
        meanings = ", ".join(f"{SIGNS[word]} {text.format(margin=comparison.margin)}" for word, text in used.items())
        yield f"Against {comparison.baseline}: {meanings}; no mark: undecided ({level})."
    else:
        yield f"No row differs significantly from {comparison.baseline} ({level})."
    if "better" in used:
        yield "Bold: the lowest mean of its column, where it is significantly better."
