"""The list of the runs in a folder: which are chosen, their order, and their values as rows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from attnlab.configuration.identity import SECTIONS
from attnlab.configuration.messages import unknown_choice
from attnlab.configuration.names import name_of
from attnlab.configuration.run_name import names_of
from attnlab.errors import ConfigError
from attnlab.records.run_state import STATES, RunState, run_states
from attnlab.tables.selection import select


class ListedRun(NamedTuple):
    """One run. name: its attention, model, dataset and seed, and the values in which it differs from those listed."""

    name: str
    state: RunState


#: sort=KEY -> what a run is sorted by
SORTS: dict[str, Callable[[ListedRun], Any]] = {
    "date": lambda run: run.state.date,
    "error": lambda run: (run.state.error is None, run.state.error),
    "time": lambda run: (run.state.seconds is None, run.state.seconds),
    "name": lambda run: run.name,
    "state": lambda run: (run.state.state, run.state.date),
}


def list_runs(
    output_dir: Path, filters: Sequence[str], sort: str = "date", state: str | None = None
) -> tuple[list[ListedRun], list[str]]:
    """(the runs below output_dir that have the values of `filters`, in order; lines about what is mixed among them).

    filters: as of record_filter.py.  sort: a key of SORTS, the smallest or oldest first.  state: one of STATES; None:
    all. Raises ConfigError if no run is left, for an unknown order or state, and for values that cannot select runs.
    """
    if sort not in SORTS:
        raise ConfigError(unknown_choice("sort", sort, SORTS))
    if state is not None and state not in STATES:
        raise ConfigError(unknown_choice("state", state, STATES))
    states = [each for each in run_states(output_dir) if state in (None, each.state)]
    if not states and state is not None:
        raise ConfigError(f"output_dir={output_dir}: holds no run with state={state}")
    known = {each.id: {"id": each.id, "config": dict(each.config)} for each in states if each.config is not None}
    chosen, notes, reason = select(list(known.values()), filters)
    kept = {record["id"] for record in chosen}
    states = [each for each in states if each.id in kept or (each.config is None and not filters)]
    if not states:
        why = f" that these values select: {reason}" if filters else ""
        raise ConfigError(f"output_dir={output_dir}: holds no run{why}")
    names = iter(names_of([each.config for each in states if each.config is not None]))
    runs = [ListedRun(next(names) if each.config is not None else "", each) for each in states]
    return sorted(runs, key=SORTS[sort]), notes


def rows_of(runs: Sequence[ListedRun]) -> list[dict[str, Any]]:
    """A dict for each run, unrounded, for a CSV file."""
    return [_row(run) for run in runs]


def _row(run: ListedRun) -> dict[str, Any]:
    state, config = run.state, run.state.config
    parts = {part: config and name_of(part, config[part], config) for part in SECTIONS}
    return {
        "id": state.id, "name": run.name, **parts, "seed": config and config["seed"], "state": state.state,
        "reason": state.reason, "epochs": state.epochs, "of_epochs": state.of, "test/top1_error": state.error,
        "seconds": state.seconds, "date": state.date.isoformat(timespec="seconds"),
    }  # fmt: skip
