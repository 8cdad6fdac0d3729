"""One run as a job: train a checked config, and print the one message of a run that fails."""

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence

from attnlab.configuration.cli import EXPECTED
from attnlab.configuration.compose import Checked
from attnlab.configuration.explain import explain
from attnlab.configuration.identity import run_id
from attnlab.configuration.secrets import hide
from attnlab.launch.objective import Value, value_of
from attnlab.machine import ranks

FIRST_RANK_TIME = 3.0  # seconds that another rank gives the first one to print its error, which ends both


def run_one(
    values: Checked,
    overrides: Sequence[str],
    *,
    on_progress: Callable[[float, float], None] | None = None,
    on_lost_rank: Callable[[str], None] | None = None,
    name: str | None = None,
) -> Value | None:
    """Train one run; return the value of its objective, for sweepers that minimise it (attnlab.launch.objective).

    overrides: what the user typed, printed with the run's id.  name and the callbacks: as of attnlab.train.
    """
    if ranks.is_first():
        print(f"{run_id(values)}: {' '.join(overrides) or 'defaults'}", flush=True)
    from attnlab.training.train import train

    record = train(values, on_progress=on_progress, on_lost_rank=on_lost_rank, name=name)
    return value_of(record, values.get("objective"))


def print_failure(error: Exception) -> str:
    """Print a failed run's message to stderr, and return it, without secrets."""
    message = failure_of(error)
    print(f"attnlab: {message}", file=sys.stderr, flush=True)
    return message


def failure_of(error: Exception) -> str:
    """A failed run's message, without secrets.

    Prints the traceback of an error that attnlab does not expect, and with ATTNLAB_TRACEBACK=1 of every one.
    """
    expected = isinstance(error, EXPECTED)
    message = hide(explain(error) if expected else f"{type(error).__name__}: {error}")
    if not ranks.is_first():
        time.sleep(FIRST_RANK_TIME)
        message = f"{ranks.name()}: {message}"
    if os.environ.get("ATTNLAB_TRACEBACK") or not expected:
        print(hide("".join(traceback.format_exception(error))), end="", file=sys.stderr, flush=True)
    return message
