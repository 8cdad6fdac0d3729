"""What stands under a table: how to read the numbers, the noise floor, the paper's numbers."""

from collections.abc import Iterator, Mapping

from attnlab.records import judgement
from attnlab.tables.cell_result import CellResult
from attnlab.tables.comparison import Comparison
from attnlab.tables.judgement_notes import judge_notes
from attnlab.tables.metric_names import metric_name
from attnlab.tables.noise_floor import NoiseFloor
from attnlab.tables.number_text import mean_and_interval, number_of_runs
from attnlab.tables.page_warnings import in_column
from attnlab.tables.power_analysis import ALPHA, POWER
from attnlab.tables.provenance_notes import made_on, provenance_notes
from attnlab.tables.reproduction import reproduction_notes
from attnlab.tables.same_setup import speed_note
from attnlab.tables.statistics import CONFIDENCE, WILCOXON_FROM

#: what the column n shows, and over which differences Holm corrects, by the origin of the runs
N_OF = {"table": "recorded / declared seeds", "sweep": "recorded / all seeds of the sweep", "records": "recorded seeds"}
DIFFERENCES_OF = {"table": "that the table declares", "sweep": "of the sweep", "records": "of this table"}
UNDECLARED = (
    "These are the runs that were recorded; nothing says how many seeds were planned. The p values hold if their "
    "number was fixed before the results were seen; adding seeds until a difference appears finds differences where "
    "there are none. A declared table (table=NAME) fixes it."
)
#: why two rows are one model, and what that makes of their difference
TWINS = (
    "They are twins: the same attention, whose initial weights are drawn twice; all else is equal. So this difference "
    "is chance. Between other rows with attention, chance is as large, since their initial weights always differ."
)
IDENTITY = (
    "They are one model by the identity 1 - s(z) = s(-z), since the initialisation of the last layer is symmetric. So "
    "this difference is chance."
)
SAME_START = " At one seed the two start from the same weights, unlike twins."


def page_notes(comparison: Comparison, results: Mapping[tuple[str, str], CellResult]) -> Iterator[str]:
    """A paragraph each. results: of the table's first metric."""
    yield (
        "Each run is tested once, at its end. Cells: mean ± sample standard deviation over n seeds; n: "
        f"{N_OF[comparison.grid.origin]}. Differences are taken seed by seed (paired t): runs of one seed share "
        "initial backbone weights, images and order. Where backbone or recipe differ, runs count as independent "
        "(Welch's t)."
    )
    if comparison.grid.origin == "records":
        yield UNDECLARED
    if replacing := [c.row for c in comparison.grid.cells if c.config["attention"].get("place") == "kernel"]:
        yield (
            f"{', '.join(dict.fromkeys(replacing))}: this attention replaces convolutions. At one seed such a row "
            "shares images, order and the other layers' initial weights with the baseline, but not the replaced layers."
        )
    yield from _tests(comparison, results)
    if comparison.over_images:
        yield (
            f"There are two intervals of one difference. The one in minus {comparison.baseline} is over seeds: would "
            "other trainings agree, on these test images? The one over images: would other test images agree, for "
            "these trained nets? By itself the second says nothing about a module. It uses the runs that keep their "
            f"predictions{_predictions_command(comparison)}."
        )
    if comparison.records:
        yield made_on(comparison.records)
    if speeds := speed_note(comparison.records):
        yield speeds
    yield from _latencies(comparison)
    yield from provenance_notes(comparison.records)
    yield from _judge_scores(comparison)
    yield from judge_notes(comparison.records, comparison.metrics)
    if comparison.baseline not in comparison.grid.rows:
        yield f"No differences: the baseline, {comparison.baseline}, was not selected."
    for result in results.values():
        if (d := result.difference) and d.p is None and min(d.n, d.n_baseline) > 1:
            where = f"{result.cell.row}{in_column(result.cell.column)}"
            yield f"{where}: all its differences are equal, so there is no spread to test against."
    floors = comparison.noise_floors(comparison.metrics[0])
    yield from (_noise_floor(floor, len(floors)) for floor in floors)
    if (comparison.has_noise_floor or comparison.compares_masks) and not floors:
        yield "Noise floor: not measured yet. It is the difference between two rows that are one model."
    yield from _papers(comparison)
    same = [", ".join(group) for group in comparison.grid.table["same"]]
    if same:
        yield f"The same runs under several names: {'; '.join(same)}."


def _tests(comparison: Comparison, results: Mapping[tuple[str, str], CellResult]) -> Iterator[str]:
    """Correction, verdicts and power, if anything could be tested."""
    if not any(result.difference and result.difference.p is not None for result in results.values()):
        return
    bold = f"Bold: p <= {ALPHA}" if comparison.is_complete else "p (Holm): p"
    yield (
        f"{bold} after Holm's correction over the {comparison.comparisons} differences "
        f"{DIFFERENCES_OF[comparison.grid.origin]}, better or worse; a missing difference counts as p = 1. Each "
        "interval is of one difference, not corrected. Wilcoxon's signed-rank p is not corrected either, and needs "
        f"{WILCOXON_FROM} pairs."
    )
    if any(result.verdict for result in results.values()):
        yield _verdicts(comparison)
    yield (
        f"detectable: the difference that this many seeds would find with {100 * POWER:.0f} % power, corrected. A "
        "smaller one cannot be distinguished from chance here. It is an estimate from the spread of these few runs; "
        f"its {100 * CONFIDENCE:.0f} % interval is in brackets."
    )


def _verdicts(comparison: Comparison) -> str:
    text = "verdict: better or worse (lower is better) where the difference is bold"
    if comparison.margin is None:
        return (
            f"{text}, else undecided. undecided does not mean equal: no margin (table.margin) was declared within "
            "which a row would count as equivalent."
        )
    given = any("table.margin" in argument for argument in comparison.grid.changed)
    whose = "a margin that the table does not declare" if given else "the margin that the table declares"
    return (
        f"{text}; equivalent where two one-sided t tests at {100 * ALPHA:g} %, corrected by Holm in the same way, show "
        f"that the true difference lies within ±{comparison.margin:g}, {whose}. A row can be both. undecided: neither "
        "is shown, which does not mean equal."
    )


def _noise_floor(floor: NoiseFloor, pairs: int) -> str:
    one, other = floor.rows
    d = floor.difference
    p = "" if d.p is None else f", p = {d.p:.2f}"
    p += f" ({floor.p_holm:.2f} after Holm over the {pairs} such pairs)" if p and pairs > 1 else ""
    reason = TWINS if floor.twins else IDENTITY + SAME_START * floor.same_start
    return (
        f"Noise floor: {one} minus {other}{in_column(floor.column)} is {mean_and_interval(d)}{p}, n = {d.n}. "
        f"{reason} Where there is no effect, one test in twenty gives p < 0.05. A "
        "difference of this size between other rows means nothing."
    )


def _papers(comparison: Comparison) -> Iterator[str]:
    """Where the paper's numbers come from, and how its epoch was chosen."""
    for metric, block in comparison.grid.table["paper"].items():
        shown = any(value is not None for values in block["values"].values() for value in values.values())
        text = f"Paper, {metric_name(metric)}: {block['source']}"
        if not shown:
            yield f"{text}: {block.get('missing') or 'not available'}"
            continue
        text += f", {number_of_runs(block['runs'])}" if block.get("runs") else ""
        text += "; it prints accuracy, the error here is 100 minus that" if block["gives"] == "accuracy" else ""
        if block["chosen"] == "test":
            text += ". *: the paper chose its epoch on the test set and we do not, so expect our error to be higher"
        elif block["chosen"] == "unknown":
            text += ". It is not known on which images the paper chose its epoch"
        yield f"{text}. {block.get('missing') or ''}".strip()
        yield from reproduction_notes(comparison, metric)
    if not comparison.grid.table["paper"] and comparison.grid.origin == "table":
        yield "Paper: not available."


def _latencies(comparison: Comparison) -> Iterator[str]:
    """On which machine the latencies were measured, and how many rows have none."""
    if not comparison.latency_columns:
        return
    command = f"python -m attnlab.bench latency table={comparison.grid.name}"
    if comparison.latencies is None:
        yield f"Latency: not measured. {command} measures it."
        return
    yield (
        f"latency / {comparison.baseline}: the time of one inference over that of {comparison.baseline}, median and "
        f"quartiles of rounds in turn. Measured on {comparison.latencies.machine} ({comparison.latencies.path}), not "
        "taken from training times."
    )
    cells = comparison.grid.cells
    missing = [c.row for c in cells if any(comparison.latency(name, c) is None for name in comparison.latency_columns)]
    if missing:
        yield f"Latency not measured for {', '.join(dict.fromkeys(missing))}. {command} measures it."


def _judge_scores(comparison: Comparison) -> Iterator[str]:
    """How many runs have each score of attnlab.judge, and the value to compare it with."""
    for metric in (metric for metric in comparison.metrics if metric in judgement.METRICS):
        found = [run["judged"][metric] for run in comparison.records if metric in run.get("judged", {})]
        total = number_of_runs(len(comparison.records))
        text = f"{metric_name(metric)}: scored for {len(found)} of {total} (attnlab.judge)"
        if beside := [one["beside"] for one in found if one["beside"] is not None]:
            low, high = (f"{value:.{judgement.digits(metric)}f}" for value in (min(beside), max(beside)))
            text += f"; {found[0]['meaning']}: {low}" + (f" to {high}" if high != low else "")
        yield f"{text}."


def _predictions_command(comparison: Comparison) -> str:
    """Where to read more on predictions; only declared tables have such a page."""
    if comparison.grid.origin != "table":
        return ""
    return f"; python -m attnlab.report predictions table={comparison.grid.name} shows more of them"
