"""Whether runs were trained in one precision, on one kind of device, and timed under one machine setup.

Precision and kind of device change the arithmetic, so a difference between a bf16-mixed run on a GPU and a 32-true run
on a CPU may come from the machine. Speeds are compared only between runs with the same SETUP.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from attnlab.records.record import Record
from attnlab.tables.cell_runs import CellRuns

#: what a speed depends on besides the net: the machine, and what else ran on it
SETUP = ("device", "precision", "world_size", "threads", "n_jobs", "runs_per_gpu")


def device_kind(record: Record) -> str:
    """cpu, cuda or mps. machine/hardware.py names a CPU with its cores, and uses mps only if the config says mps."""
    if (record["config"].get("machine") or {}).get("accelerator") == "mps":
        return "mps"
    return "cpu" if re.search(r", \d+ cores$", record["device"]) else "cuda"


def setup_difference(runs: CellRuns, baseline: CellRuns) -> str:
    """How runs of one seed differ in setup, e.g. `precision (bf16-mixed, not 32-true)`; empty if they do not."""
    mine, theirs = ({run["config"]["seed"]: run for run in group.runs} for group in (runs, baseline))
    seeds = sorted(mine.keys() & theirs.keys())
    found = []
    for name, of in (("precision", lambda run: run["precision"]), ("kind of device", device_kind)):
        pairs = [(of(mine[seed]), of(theirs[seed])) for seed in seeds]
        if unequal := [(value, other) for value, other in pairs if value != other]:
            found.append(f"{name} ({unequal[0][0]}, not {unequal[0][1]})")
    return " and ".join(found)


def most_common_setup(records: Sequence[Record]) -> tuple[Any, ...]:
    """The values of SETUP that most runs have; empty without records."""
    return Counter(map(_setup, records)).most_common(1)[0][0] if records else ()


def with_setup(runs: CellRuns, setup: tuple[Any, ...]) -> CellRuns:
    """The runs that have these values of SETUP."""
    return CellRuns(runs.label, [run for run in runs.runs if _setup(run) == setup])


def speed_note(records: Sequence[Record]) -> str:
    """Which runs the speeds of a table are of, if not all have one setup; else empty."""
    common = most_common_setup(records)
    having = sum(_setup(run) == common for run in records)
    if having == len(records):
        return ""
    named = ", ".join(f"{name}={value}" for name, value in zip(SETUP, common, strict=True) if value is not None)
    return (
        f"images/s and s a run: only of the {having} of {len(records)} runs with {named}. "
        "The speeds of the other runs cannot be compared with these."
    )


def _setup(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in SETUP)
