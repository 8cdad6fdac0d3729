"""Processes and signals: run a function in forked processes, end with the parent, handle SIGTERM and SIGINT."""

import ctypes
import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from attnlab.errors import AttnlabError

PR_SET_PDEATHSIG = 1  # linux/prctl.h
INTERRUPTED = 130  # exit status of a process that was stopped by SIGINT or SIGTERM
STOPS = {signal.SIGINT, signal.SIGTERM}

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_forked(function: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Iterator[Result]:
    """function(item) of each item, in their order. `processes` processes, forked at this call, compute them.

    The processes share what this one has imported. OpenMP threads do not survive a fork: if this process has used them,
    `function` may use one thread only. With processes=1 nothing is forked, and an item is computed when it is asked
    for. The first error in the order of the items is raised here, and ends the processes. Raises AttnlabError if a
    process was killed.
    """
    if processes == 1:
        return map(function, items)
    gc.freeze()  # a collection in a process would write to the shared objects, and so copy their memory
    before = multiprocessing.active_children()
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_leave_stops_to, initargs=(os.getpid(),))
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # until the generator, which ends the processes, has begun
    try:
        found = _results(pool, lambda: pool.map(function, items), before)
        next(found)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return found


def _results(pool: ProcessPoolExecutor, start: Callable[[], Iterator[Any]], before: Sequence[BaseProcess]) -> Any:
    """Start the pool and yield once; then yield the results. before: child processes that are not of the pool."""
    try:
        results = start()
        yield
        yield from results
    except BaseException as error:  # KeyboardInterrupt too, and GeneratorExit
        for process in multiprocessing.active_children():
            if process not in before:
                process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise AttnlabError(
                "a process was killed, perhaps for lack of memory; a smaller n_jobs needs less"
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_stops_to(parent: int) -> None:
    """In a process of map_forked: Ctrl-C reaches the parent too, which then ends this process by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    die_with(parent)


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
