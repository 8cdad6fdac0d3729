"""What stands above and under a table: what a reader must know first, and how to read the numbers."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from attnlab import judgement
from attnlab.code_notes import code_notes, code_warnings
from attnlab.compare import Comparison, Entry, Floor
from attnlab.judge_notes import judge_notes, judge_warnings
from attnlab.results import Record
from attnlab.statistics import ALPHA, WILCOXON_FROM, Difference

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
    for name, of in ONE_THING.items():
        if len(counted := Counter(of(run) for run in comparison.records)) > 1:
            values = ", ".join(f"{value} ({_runs(n)})" for value, n in counted.most_common())
            yield f"Mixed {name}: {values}."
    if dirty := sum(bool(run["dirty"]) for run in comparison.records):
        yield f"{dirty} of {len(comparison.records)} runs come from a working tree with uncommitted changes."
    yield from code_warnings(comparison.records)
    yield from judge_warnings(comparison.records, comparison.metrics)
    reasons: dict[str, list[str]] = {}
    for line in comparison.left_out:
        path, _, reason = line.partition(": ")
        reasons.setdefault(reason, []).append(path)
    for reason, paths in reasons.items():
        rest = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        yield f"Left out: {', '.join(paths[:3])}{rest}: {reason}."


def notes(comparison: Comparison, entries: Mapping[tuple[str, str], Entry]) -> Iterator[str]:
    """How the numbers are to be read, the noise floor, the paper."""
    first = comparison.metrics[0]
    yield (
        "Test set, looked at once a run; mean ± sample standard deviation over n seeds, n/wanted. Differences are of "
        "runs of one seed, which share backbone weights, images and order (paired t), and of independent runs where "
        "the backbone or the recipe differs (Welch)."
    )
    if any(entry.p_holm is not None for entry in entries.values()):
        yield (
            f"Bold: p <= {ALPHA} after Holm's correction over the {comparison.comparisons} differences that the table "
            "declares, for better or worse; one that is not there counts as p = 1. Intervals are of each difference by "
            "itself, not corrected. detectable: the difference that so many seeds would find with 80 % power, "
            "corrected; what is smaller cannot be told from nothing here. Wilcoxon's signed-rank p, not corrected, "
            f"from {WILCOXON_FROM} pairs on."
        )
    yield from code_notes(comparison.records)
    yield from _judged(comparison)
    yield from judge_notes(comparison.records, comparison.metrics)
    if comparison.baseline not in comparison.grid.rows:
        yield f"No differences: the baseline, {comparison.baseline}, was not asked for."
    for entry in entries.values():
        if (d := entry.difference) and d.p is None and min(d.n, d.n_baseline) > 1:
            yield f"{entry.cell.row}{_in(entry.cell.column)}: all its differences are equal, no spread to test."
    floors = comparison.floors(first)
    yield from (_floor(floor, len(floors)) for floor in floors)
    if comparison.compares_masks and not floors:
        yield "Noise floor: not measured yet; it is the difference between two rows that are one model."
    yield from _of_papers(comparison)
    same = [", ".join(group) for group in comparison.grid.table["same"]]
    if same:
        yield f"The same runs under several names: {'; '.join(same)}."


def _in(column: str) -> str:
    return f" in {column}" if column else ""


def _floor(floor: Floor, pairs: int) -> str:
    one, other = floor.rows
    d = floor.difference
    p = "" if d.p is None else f", p = {d.p:.2f}"
    p += f" ({floor.p_holm:.2f} after Holm over the {pairs} such pairs)" if p and pairs > 1 else ""
    return (
        f"Noise floor: {one} minus {other}{_in(floor.column)} is {interval(d)}{p}, n = {d.n}. They are one model "
        "(1 - s(z) = s(-z), and the last layer's initialisation is symmetric), so this difference measures chance, and "
        "one look in twenty at nothing finds p < 0.05; a difference of its size between other rows means nothing."
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
