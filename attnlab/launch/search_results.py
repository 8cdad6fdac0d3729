"""What a search leaves and says at its end: a CSV file of all trials, the best of them, and why others failed."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.configuration.digest import digest
from attnlab.records.atomic import write_text

AT_THE_END = "the best of many validation errors is too good; compare its values with others on new seeds"
#: of a trial in Optuna's study: the run's id, why it failed, and that the same point had failed before
RUN, REASON, REPEATED = "run", "reason", "repeated"


def file_of(output_dir: str | Path, name: str, fixed: Mapping[str, Any]) -> Path:
    """The file of a search. fixed: all that makes it this search and no other; the number of trials is not in it."""
    return Path(output_dir) / "tables" / f"search_{name}_{digest(fixed)[:8]}.csv"


def trials_of(study: Any) -> list[Any]:
    """The trials of a study, without points that were drawn again after they had failed."""
    return [trial for trial in study.trials if REPEATED not in trial.user_attrs]


def write_trials(study: Any, objectives: Sequence[str], path: Path) -> None:
    """Write a row for each trial: number, state, objectives, searched keys, run, and why it failed."""
    trials = trials_of(study)
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    rows = [
        {"number": trial.number, "state": "finished" if trial.values else "failed"}
        | dict(zip(objectives, trial.values or (), strict=False))
        | trial.params
        | {name: trial.user_attrs.get(name) for name in (RUN, REASON)}
        for trial in trials
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["number", "state", *objectives, *keys, RUN, REASON], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


def result(study: Any, objectives: Sequence[str]) -> list[str]:
    """The lines about the best trial, or the Pareto front of several objectives."""
    if len(objectives) == 1:
        return [f"best: {_line(study.best_trial, objectives)}", AT_THE_END]
    front = sorted(study.best_trials, key=lambda trial: trial.values)
    lines = dict.fromkeys(f"  {_line(trial, objectives)}" for trial in front)  # trials may repeat a run
    runs = f"{len(lines)} run{'s' * (len(lines) != 1)}"
    return [f"Pareto front of {' and '.join(objectives)}: {runs}", *lines, AT_THE_END]


def smallest(study: Any, objectives: Sequence[str]) -> str:
    """`val/top1_error 12.3, macs 4,000,000`: the smallest value of each objective so far."""
    columns = zip(*(trial.values for trial in study.trials if trial.values), strict=True)
    pairs = zip(objectives, columns, strict=True)
    return ", ".join(f"{objective} {_text(min(column))}" for objective, column in pairs)


def _line(trial: Any, objectives: Sequence[str]) -> str:
    """`val/top1_error 12.3, macs 4,000,000: run 0123456789ab, recipe.optimizer.lr=0.1`."""
    measured = zip(objectives, trial.values, strict=True)
    texts = ", ".join(f"{objective} {_text(value)}" for objective, value in measured)
    return f"{texts}: run {trial.user_attrs.get(RUN)}, {' '.join(drawn(trial))}"


def drawn(trial: Any) -> list[str]:
    """The overrides that Optuna has drawn for a trial."""
    return [f"{key}={value}" for key, value in trial.params.items()]


def _text(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.6g}"
