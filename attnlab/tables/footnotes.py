"""What stands above and under a table: what a reader must know first, and how to read the numbers."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from attnlab.records import judgement
from attnlab.records.record import Record
from attnlab.tables.comparison import Comparison, Floor
from attnlab.tables.entry import Entry
from attnlab.tables.judgement_notes import judge_notes, judge_warnings
from attnlab.tables.provenance_notes import provenance_notes, provenance_warnings
from attnlab.tables.same_setup import how_timed
from attnlab.tables.statistics import ALPHA, CONFIDENCE, POWER, WILCOXON_FROM, Difference

NAMES = {
    "test/top1_error": "top-1 error %",
    "test/top5_error": "top-5 error %",
    "test/calibration_error": "calibration error",
    "test/loss": "test loss",
    "val/top1_error": "validation error %",
}
NOTHING = "–"
#: what must be one thing for all runs of a table, or be told: its name, and what a record says of it
ONE_THING: dict[str, Callable[[Record], str]] = {
    "commits": lambda run: (run["commit"] or "unknown")[:7],
    "devices": lambda run: run["device"],
    "precisions": lambda run: run["precision"],
    "numbers of processes": lambda run: str(run["world_size"]),
    # of the whole batch, or of each rank's part of it; a net without BN is at home with both
    "batch statistics": lambda run: {"rank": "rank", "mixed": "mixed"}.get(str(run.get("batch_statistics")), "batch"),
    "versions of torch": lambda run: run["versions"]["torch"],
}

#: why two rows are one model, and what their difference is then
TWINS = (
    "They are twins: the same attention, whose initial weights are drawn twice; all else is equal. So this difference "
    "is chance, and as large as chance is between rows with attention, whose initial weights always differ."
)
IDENTITY = (
    "They are one model by an identity: 1 - s(z) = s(-z), and the last layer's initialisation is symmetric. So this "
    "difference is chance, of runs that start from the same weights at one seed, as twins do not."
)


def _runs(n: int) -> str:
    return f"{n} run{'s' * (n != 1)}"


def metric_name(metric: str) -> str:
    """A metric as a heading."""
    return judgement.heading(metric) if metric in judgement.METRICS else NAMES.get(metric, metric)


def interval(difference: Difference | None) -> str:
    """`-0.20 [-0.55, +0.15]`; the difference alone where there is no interval, a dash where there is none."""
    if difference is None:
        return NOTHING
    text = f"{difference.mean:+.2f}"
    return text if difference.low is None else f"{text} [{difference.low:+.2f}, {difference.high:+.2f}]"


def warnings(comparison: Comparison) -> Iterator[str]:
    """What a reader must know before the numbers."""
    grid = comparison.grid
    if grid.changed:
        yield f"Not the protocol: {' '.join(grid.changed)}."
    if grid.is_part:
        yield "A part of the table: other rows, columns or seeds were not asked for."
    if comparison.missing:
        runs = len(set(comparison.book.ids.values()))
        yield f"Unfinished: {runs - comparison.missing} of {runs} runs are recorded."
    yield from _not_judged(comparison)
    for name, of in ONE_THING.items():
        if len(counted := Counter(of(run) for run in comparison.records)) > 1:
            values = ", ".join(f"{value} ({_runs(n)})" for value, n in counted.most_common())
            yield f"Mixed {name}: {values}."
    if dirty := sum(bool(run["dirty"]) for run in comparison.records):
        yield f"{dirty} of {len(comparison.records)} runs come from a working tree with uncommitted changes."
    yield from provenance_warnings(comparison.records, comparison.book.records)
    yield from judge_warnings(comparison.records, comparison.metrics)
    reasons: dict[str, list[str]] = {}
    for line in comparison.left_out:
        path, _, reason = line.partition(": ")
        reasons.setdefault(reason, []).append(path)
    for reason, paths in reasons.items():
        rest = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        yield f"Left out: {', '.join(paths[:3])}{rest}: {reason}."


def _not_judged(comparison: Comparison) -> Iterator[str]:
    """Why nothing is judged, or some rows are not."""
    if not comparison.whole and comparison.baseline in comparison.grid.rows:
        yield (
            f"No bold and no verdict: the table declares {comparison.declared_seeds} seeds a row, and not all are "
            "here. It is judged once, when they are: who looks after each new seed, and stops when something is "
            "found, finds differences where there are none. p values are those of a table that is looked at once."
        )
    rows: dict[tuple[str, str], list[str]] = {}
    for (row, column), how in comparison.unlike.items():
        rows.setdefault((column, how), []).append(row)
    for (column, how), names in rows.items():
        yield (
            f"No bold and no verdict for {', '.join(names)}{_in(column)}: trained otherwise than {comparison.baseline} "
            f"at equal seeds, in {how}, so a difference may come from the machine."
        )


def notes(comparison: Comparison, entries: Mapping[tuple[str, str], Entry]) -> Iterator[str]:
    """How the numbers are to be read, the noise floor, the paper."""
    first = comparison.metrics[0]
    yield (
        "Test set, looked at once a run; mean ± sample standard deviation over n seeds, n/wanted. Differences are of "
        "runs of one seed, which share backbone weights, images and order (paired t), and of independent runs where "
        "the backbone or the recipe differs (Welch)."
    )
    if replacing := [c.row for c in comparison.grid.cells if c.config["attention"].get("place") == "kernel"]:
        yield (
            f"{', '.join(dict.fromkeys(replacing))}: this attention replaces convolutions. At one seed such a row "
            "shares images, order and the other layers' first weights with the baseline, but not the replaced layers."
        )
    if any(entry.difference and entry.difference.p is not None for entry in entries.values()):
        bold = f"Bold: p <= {ALPHA}" if comparison.whole else "p (Holm): p"
        yield (
            f"{bold} after Holm's correction over the {comparison.comparisons} differences that the table "
            "declares, for better or worse; one that is not there counts as p = 1. Intervals are of each difference by "
            f"itself, not corrected. Wilcoxon's signed-rank p, not corrected, from {WILCOXON_FROM} pairs on."
        )
        if any(entry.verdict for entry in entries.values()):
            yield _verdicts(comparison)
        yield (
            f"detectable: the difference that so many seeds would find with {100 * POWER:.0f} % power, corrected; what "
            "is smaller cannot be told from nothing here. It follows from the spread that these few runs happen to "
            f"show, so it is an estimate too: in brackets its {100 * CONFIDENCE:.0f} % interval."
        )
    if comparison.over_images:
        yield (
            f"The interval of minus {comparison.baseline} is over seeds: would other trainings agree, on these test "
            "images? That over images asks of the same difference: would other test images agree, about these trained "
            "nets? It says nothing of a module by itself. It is of the runs that keep their predictions "
            f"(python -m attnlab.report predictions table={comparison.grid.name} has more of them)."
        )
    if timed := how_timed(comparison.records):
        yield timed
    yield from provenance_notes(comparison.records)
    yield from _judged(comparison)
    yield from judge_notes(comparison.records, comparison.metrics)
    if comparison.baseline not in comparison.grid.rows:
        yield f"No differences: the baseline, {comparison.baseline}, was not asked for."
    for entry in entries.values():
        if (d := entry.difference) and d.p is None and min(d.n, d.n_baseline) > 1:
            yield f"{entry.cell.row}{_in(entry.cell.column)}: all its differences are equal, no spread to test."
    floors = comparison.floors(first)
    yield from (_floor(floor, len(floors)) for floor in floors)
    if (comparison.has_floor or comparison.compares_masks) and not floors:
        yield "Noise floor: not measured yet; it is the difference between two rows that are one model."
    yield from _of_papers(comparison)
    same = [", ".join(group) for group in comparison.grid.table["same"]]
    if same:
        yield f"The same runs under several names: {'; '.join(same)}."


def _verdicts(comparison: Comparison) -> str:
    text = "verdict: better or worse (lower is better) where the difference is bold"
    if comparison.margin is None:
        return (
            f"{text}, undecided elsewhere. undecided does not mean equal: the table declares no margin (table.margin) "
            "within which a row would count as equivalent."
        )
    given = any("table.margin" in argument for argument in comparison.grid.changed)
    whose = "a margin that the table does not declare" if given else "the margin that the table declares"
    return (
        f"{text}; equivalent where two one-sided t tests at {100 * ALPHA:g} %, corrected by Holm in the same way, show "
        f"that the true difference lies within ±{comparison.margin:g}, {whose}. Where both are shown, the verdict says "
        "both. undecided: neither is shown, which does not mean equal."
    )


def _in(column: str) -> str:
    return f" in {column}" if column else ""


def _floor(floor: Floor, pairs: int) -> str:
    one, other = floor.rows
    d = floor.difference
    p = "" if d.p is None else f", p = {d.p:.2f}"
    p += f" ({floor.p_holm:.2f} after Holm over the {pairs} such pairs)" if p and pairs > 1 else ""
    return (
        f"Noise floor: {one} minus {other}{_in(floor.column)} is {interval(d)}{p}, n = {d.n}. "
        f"{TWINS if floor.twins else IDENTITY} One look in twenty at nothing finds p < 0.05. A difference of this size "
        "between other rows means nothing."
    )


def _of_papers(comparison: Comparison) -> Iterator[str]:
    for metric, block in comparison.grid.table["paper"].items():
        shown = any(value is not None for values in block["values"].values() for value in values.values())
        text = f"Paper, {metric_name(metric)}: {block['source']}"
        if not shown:
            yield f"{text}: {block.get('missing') or 'not available'}"
            continue
        text += f", {_runs(block['runs'])}" if block.get("runs") else ""
        text += "; it prints accuracy, the error here is 100 minus that" if block["gives"] == "accuracy" else ""
        if block["chosen"] == "test":
            text += ". *: its epoch was chosen on the test set, so ours, which is not, is expected to be worse"
        elif block["chosen"] == "unknown":
            text += ". On which images it chose its epoch is not known"
        yield f"{text}. {block.get('missing') or ''}".strip()
    if not comparison.grid.table["paper"]:
        yield "Paper: not available."


def _judged(comparison: Comparison) -> Iterator[str]:
    """What the scores of attnlab.judge are to be held against, and how many runs have them."""
    for metric in (metric for metric in comparison.metrics if metric in judgement.METRICS):
        found = [run["judged"][metric] for run in comparison.records if metric in run.get("judged", {})]
        text = f"{metric_name(metric)}: of {len(found)} of {_runs(len(comparison.records))} (attnlab.judge)"
        if beside := [one["beside"] for one in found if one["beside"] is not None]:
            low, high = (f"{value:.{judgement.digits(metric)}f}" for value in (min(beside), max(beside)))
            text += f"; {found[0]['meaning']}: {low}" + (f" to {high}" if high != low else "")
        yield f"{text}."
