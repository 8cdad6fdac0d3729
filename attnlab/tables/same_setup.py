"""Whether a row and its baseline were trained alike, in one precision and on one kind of device.

Both change the arithmetic: a difference between bf16-mixed on a GPU and 32-true on a CPU is of the machine as well.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from attnlab.records.record import Record
from attnlab.tables.overview import Row

#: what a speed depends on besides the net: the machine, and what else ran on it
SETUP = ("device", "precision", "world_size", "threads", "n_jobs", "runs_per_gpu")


def device_kind(record: Record) -> str:
    """cpu, cuda or mps: machine/hardware.py names a CPU with its cores, and takes mps only when it is asked for."""
    if (record["config"].get("machine") or {}).get("accelerator") == "mps":
        return "mps"
    return "cpu" if re.search(r", \d+ cores$", record["device"]) else "cuda"


def how_unlike(row: Mapping[int, Record], baseline: Mapping[int, Record]) -> str:
    """Where the runs of one seed differ, in words: `precision (bf16-mixed, not 32-true)`; empty where they do not."""
    found = []
    for name, of in (("precision", lambda run: run["precision"]), ("kind of device", device_kind)):
        pairs = [(of(row[seed]), of(baseline[seed])) for seed in sorted(row.keys() & baseline.keys())]
        if odd := [(mine, theirs) for mine, theirs in pairs if mine != theirs]:
            found.append(f"{name} ({odd[0][0]}, not {odd[0][1]})")
    return " and ".join(found)


def usual_setup(records: Sequence[Record]) -> tuple[Any, ...]:
    """The set-up of most runs, SETUP; speeds are compared among these alone."""
    return Counter(map(_setup, records)).most_common(1)[0][0] if records else ()


def timed_alike(row: Row, usual: tuple[Any, ...]) -> Row:
    """The runs of a row that had the usual set-up."""
    return Row(row.attention, [run for run in row.runs if _setup(run) == usual])


def how_timed(records: Sequence[Record]) -> str:
    """Which runs the speeds of a table are of, where not all had one set-up; else empty."""
    usual = usual_setup(records)
    there = sum(_setup(run) == usual for run in records)
    if there == len(records):
        return ""
    named = ", ".join(f"{name}={value}" for name, value in zip(SETUP, usual, strict=True) if value is not None)
    return f"images/s and s a run are of the {there} of {len(records)} runs with {named}; others are not compared."


def _setup(record: Record) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in SETUP)
