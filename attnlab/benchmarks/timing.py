"""Time several sides in turn, so that a slow phase of the machine affects all of them."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch

MIN_SECONDS = 0.02  # least duration of one measurement


def in_turn(sides: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """{side: the seconds that it returns, one number per round} over `repeats` rounds.

    Each round calls every side once. Every second round goes in reverse order, so that no side is always first.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats):
        for name in sides if number % 2 == 0 else reversed(list(sides)):
            seconds[name].append(sides[name]())
    return seconds


def interleaved(
    sides: Mapping[str, Callable[[], object]], repeats: int, *, least: float = MIN_SECONDS, warm_up: int = 2
) -> dict[str, list[float]]:
    """{side: seconds per call, one number per round}, timed `in_turn`.

    Each side is first called `warm_up` times. One measurement makes enough calls to last `least` seconds; their number
    is chosen per side and is the same in all rounds. Before and after each measurement, the GPU's queue is emptied.
    """
    calls = {name: _calls(side, least, warm_up) for name, side in sides.items()}
    with _no_collection():
        return in_turn({name: partial(timed, side, calls[name]) for name, side in sides.items()}, repeats)


def timed(side: Callable[[], object], calls: int = 1) -> float:
    """Seconds per call, averaged over `calls` calls in a row."""
    synchronise()
    start = time.perf_counter()
    for _ in range(calls):
        side()
    synchronise()
    return (time.perf_counter() - start) / calls


def _calls(side: Callable[[], object], least: float, warm_up: int) -> int:
    for _ in range(warm_up):
        side()
    return max(1, round(least / max(timed(side), 1e-9))) if least else 1


def synchronise() -> None:
    """Wait until the GPU has finished, if one is in use."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect garbage once, then switch the collector off while the context is open, as timeit does."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
