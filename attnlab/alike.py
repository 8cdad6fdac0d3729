"""Whether a row and its baseline were trained alike, in one precision and on one kind of device.

Both change the arithmetic: a difference between bf16-mixed on a GPU and 32-true on a CPU is of the machine as well.
"""

import re
from collections.abc import Mapping

from attnlab.results import Record


def device_kind(record: Record) -> str:
    """cpu, cuda or mps: attnlab.machine names a CPU with its cores, and takes mps only when it is asked for."""
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
