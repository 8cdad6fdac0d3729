"""Times of several sides, turn by turn: what slows the machine for a while slows all of them."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch

LEAST = 0.02  # seconds that one measurement lasts at least


def in_turn(sides: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """What each side says it took, one number a round, of `repeats` rounds.

    In every round each side is called once; odd rounds go backwards, so that none always comes first.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats):
        for name in sides if number % 2 == 0 else reversed(list(sides)):
            seconds[name].append(sides[name]())
    return seconds


def interleaved(
    sides: Mapping[str, Callable[[], object]], repeats: int, *, least: float = LEAST, warm_up: int = 2
) -> dict[str, list[float]]:
    """Seconds a call of each side, timed `in_turn`.

    Each side is called `warm_up` times first. One measurement is as many calls as last `least` seconds; that number is
    of the side and the same in all rounds. A GPU is waited for before and after each.
    """
    calls = {name: _calls(side, least, warm_up) for name, side in sides.items()}
    with _no_collection():
        return in_turn({name: partial(timed, side, calls[name]) for name, side in sides.items()}, repeats)


def timed(side: Callable[[], object], calls: int = 1) -> float:
    """Seconds a call, of `calls` in a row."""
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
    """Wait for the GPU, where one is in use."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Garbage is collected before, not while: as timeit does."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
