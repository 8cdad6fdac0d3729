"""The runs that a report of records leaves out because they have not finished."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnlab.configuration.names import name_of
from attnlab.configuration.run_name import names_of
from attnlab.records.run_state import FINISHED, RunState, run_states
from attnlab.tables.comparison import Comparison

MOST = 3  # runs that one line names


def unfinished_runs(folder: Path, finished: Sequence[str]) -> list[RunState]:
    """The failed, interrupted and running runs below a folder whose config is known. finished: ids of records."""
    states = [state for state in run_states(folder) if state.config is not None and state.state != FINISHED]
    return [state for state in states if state.id not in finished]


def unfinished_line(states: Sequence[RunState]) -> str:
    """`Not finished, so not in the table: se resnet20 cluttered_digits seed=1 (interrupted in epoch 2 of 3).`"""
    names = names_of([state.config for state in states if state.config is not None])
    texts = [f"{name} ({state.text})" for name, state in zip(names, states, strict=True)]
    more = f" and {len(texts) - MOST} more" if len(texts) > MOST else ""
    return f"Not finished, so not in the table: {', '.join(texts[:MOST])}{more}."


def with_unfinished(comparisons: Sequence[Comparison], states: Sequence[RunState]) -> list[Comparison]:
    """Each comparison with the line about the runs of its setup; the first one has also those of no setup."""
    setups = [{_setup(cell.config) for cell in comparison.grid.cells} for comparison in comparisons]
    mine: list[list[RunState]] = [[] for _ in comparisons]
    for state in states:
        setup = _setup(state.config or {})
        mine[next((i for i, of in enumerate(setups) if setup in of), 0)].append(state)
    return [
        replace(comparison, unfinished=unfinished_line(found)) if found else comparison
        for comparison, found in zip(comparisons, mine, strict=True)
    ]


def _setup(config: Mapping[str, Any]) -> tuple[str, ...]:
    """What record_groups keeps in different tables."""
    return (*(name_of(key, config[key], config) for key in ("recipe", "head")), str(config.get("start_from")))
