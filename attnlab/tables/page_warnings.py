"""What stands above a table: what a reader must know before the numbers."""

from collections import Counter
from collections.abc import Callable, Iterator

from attnlab.records.record import Record
from attnlab.tables.comparison import Comparison
from attnlab.tables.judgement_notes import judge_warnings
from attnlab.tables.number_text import number_of_runs
from attnlab.tables.provenance_notes import provenance_warnings

#: what all runs of a table should share: its name, and its value in a record
SHARED: dict[str, Callable[[Record], str]] = {
    "commits": lambda run: (run["commit"] or "unknown")[:7],
    "devices": lambda run: run["device"],
    "precisions": lambda run: run["precision"],
    "numbers of processes": lambda run: str(run["world_size"]),
    # over the global batch, or over each rank's part of it; a net without BN ("none") mixes with both
    "batch statistics": lambda run: {"rank": "rank", "mixed": "mixed"}.get(str(run.get("batch_statistics")), "batch"),
    "versions of torch": lambda run: run["versions"]["torch"],
}
#: files that one line about rejected records names
MOST_FILES = 3
#: seeds that one line names
MOST_SEEDS = 8


def page_warnings(comparison: Comparison) -> Iterator[str]:
    """A line each."""
    grid = comparison.grid
    if grid.changed:
        yield f"Not the protocol: {' '.join(grid.changed)}."
    if grid.is_part:
        yield "A part of the table: the other rows, columns or seeds were not selected."
    if comparison.missing and grid.origin != "records":
        runs = len(set(grid.run_ids.values()))
        yield f"Unfinished: {runs - comparison.missing} of {runs} runs are recorded."
    if comparison.unfinished:
        yield comparison.unfinished
    yield from _fewer_seeds(comparison)
    yield from _without_verdict(comparison)
    for name, of in SHARED.items():
        if len(counted := Counter(of(run) for run in comparison.records)) > 1:
            values = ", ".join(f"{value} ({number_of_runs(n)})" for value, n in counted.most_common())
            yield f"Mixed {name}: {values}."
    if dirty := sum(bool(run["dirty"]) for run in comparison.records):
        yield f"{dirty} of {len(comparison.records)} runs come from a working tree with uncommitted changes."
    yield from provenance_warnings(comparison.records, comparison.progress.records)
    yield from judge_warnings(comparison.records, comparison.metrics)
    yield from _left_out(comparison.left_out)


def _fewer_seeds(comparison: Comparison) -> Iterator[str]:
    """Which selected rows share only some of their seeds with the baseline, so that the other runs are not compared."""
    if comparison.grid.origin != "records":
        return
    seeds = {
        (cell.row, cell.column): set(comparison.runs(cell).by_seed(comparison.metrics[0]))
        for cell in comparison.grid.cells
    }
    for (row, column), result in comparison.results(comparison.metrics[0]).items():
        mine, theirs = seeds[row, column], seeds.get((comparison.baseline, column), set())
        if result.difference and result.difference.paired and mine != theirs:
            both = sorted(mine & theirs)
            shown = ", ".join(map(str, both[:MOST_SEEDS])) + (" and more" if len(both) > MOST_SEEDS else "")
            yield (
                f"{row}{in_column(column)} is compared with {comparison.baseline} only at the {len(both)} "
                f"seed{'s' * (len(both) != 1)} that both have ({shown}); {row} has {number_of_runs(len(mine))}, "
                f"{comparison.baseline} {len(theirs)}."
            )


def _without_verdict(comparison: Comparison) -> Iterator[str]:
    """Why the table, or some of its rows, have no verdict."""
    if not comparison.is_complete and comparison.baseline in comparison.grid.rows:
        yield (
            f"No bold and no verdict yet: {_declares(comparison)} seeds a row, and not all are recorded. Verdicts are "
            "given once, when all are: testing after each new seed, and stopping at the "
            "first difference, finds differences where there are none. The p values hold for a table tested once."
        )
    rows: dict[tuple[str, str], list[str]] = {}
    for (row, column), how in comparison.other_setup.items():
        rows.setdefault((column, how), []).append(row)
    for (column, how), names in rows.items():
        yield (
            f"No bold and no verdict for {', '.join(names)}{in_column(column)}: trained under another setup than "
            f"{comparison.baseline} at equal seeds, in {how}, so a difference may come from the machine."
        )


def _declares(comparison: Comparison) -> str:
    seeds = comparison.grid.declared_seeds
    return f"the table declares {seeds}" if comparison.grid.origin == "table" else f"the sweep has {seeds}"


def _left_out(lines: tuple[str, ...]) -> Iterator[str]:
    """The rejected records, one line a reason."""
    reasons: dict[str, list[str]] = {}
    for line in lines:
        path, _, reason = line.partition(": ")
        reasons.setdefault(reason, []).append(path)
    for reason, paths in reasons.items():
        rest = f" and {len(paths) - MOST_FILES} more" if len(paths) > MOST_FILES else ""
        yield f"Left out: {', '.join(paths[:MOST_FILES])}{rest}: {reason}."


def in_column(column: str) -> str:
    """` in ResNet-20`, or nothing in a table without named columns."""
    return f" in {column}" if column else ""
