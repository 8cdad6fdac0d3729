"""Processes and signals: make a process end with its parent, and handle SIGTERM and SIGINT."""

import ctypes
import os
import signal
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h
INTERRUPTED = 130  # exit status of a process that was stopped by SIGINT or SIGTERM
STOPS = {signal.SIGINT, signal.SIGTERM}


def die_with(parent: int) -> None:
    """Make Linux kill this process when its parent process ends. parent: its process id."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def raise_interrupt(number: int, frame: Any) -> None:
    """Signal handler that raises KeyboardInterrupt, so that SIGTERM acts like Ctrl-C."""
    raise KeyboardInterrupt


def ignore_stops() -> None:
    """Ignore SIGINT and SIGTERM. Used when the work is done: during Python's shutdown they would print a traceback."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
