"""How long the runs of a sweep or a table take, from rates that were measured on such a GPU."""

from collections.abc import Callable, Mapping
from typing import Any

from attnlab.machine import gpus
from attnlab.machine.gpu_rates import MEASURED_AT, MEASURED_ON, expected_seconds
from attnlab.machine.sharing import Sharing

SOURCE = f"at rates measured on an {MEASURED_ON}, {MEASURED_AT}"

Estimate = Callable[[Mapping[str, Any]], float | None]


def estimate(sharing: Sharing | None, n_jobs: int) -> Estimate:
    """A function from a config to the seconds of its run beside the others; it returns None where no rate is known.

    sharing: of attnlab.machine.sharing; None = each run has a GPU of its own.  n_jobs: jobs at a time.
    """
    places = sharing.runs if sharing else 1
    share = min(places, -(-n_jobs // max(1, len(gpus.ids()))))
    known = gpus.name() if gpus.ids() else None

    def seconds(values: Mapping[str, Any]) -> float | None:
        return expected_seconds(values, known, share, side_by_side=bool(sharing and sharing.side_by_side))

    return seconds
