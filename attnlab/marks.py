"""Moments of a run for attnlab.bench startup, in the file that ATTNLAB_MARKS names; nothing without it."""

import os
import time
from pathlib import Path

FILE = "ATTNLAB_MARKS"


def mark(what: str) -> None:
    """Write down `<seconds of the monotonic clock, the same in all processes> <process id> <what>`."""
    if path := os.environ.get(FILE):
        with Path(path).open("a") as file:  # a line this short is written whole
            file.write(f"{time.monotonic():.6f} {os.getpid()} {what}\n")


def read_marks(path: Path) -> list[tuple[float, int, str]]:
    """(seconds, process id, what) of every mark, in order."""
    rows = (line.split(" ", 2) for line in path.read_text().splitlines())
    return sorted((float(moment), int(process), what) for moment, process, what in rows)
