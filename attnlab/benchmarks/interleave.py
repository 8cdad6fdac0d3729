"""Whole training loops that take turns: each in a thread of its own, one at a time, some steps a turn.

A loop cannot be called step by step, Lightning's least of all; but it must ask its loader for every batch, and there it
can be made to wait. So what slows the machine for some seconds slows all of them.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attnlab.benchmarks.timing import synchronise


class Turns:
    """One loop, `run(loader)`, that goes on for `steps` steps whenever `take` is called.

    batches: what the loader gives, from the start again where there are too few;  turns: that will be taken; the loader
    has turns * steps batches, and one for the end.
    """

    def __init__(self, run: Callable[["Turns"], Any], batches: Iterable[Any], steps: int, turns: int) -> None:
        self.batches, self.steps, self.turns = batches, steps, turns
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._seconds = 0.0
        self._thread = threading.Thread(target=self._live, args=(run,), daemon=True)
        self._thread.start()

    def _live(self, run: Callable[["Turns"], Any]) -> None:
        self._go.acquire()
        try:
            run(self)
        except BaseException as error:  # told by `take`, in the thread that asked
            self._error = error
        self._done.release()

    def take(self) -> float:
        """One turn; seconds a step, from the request for its first batch to that for the next turn's first.

        Raises what the loop raised.
        """
        self._run()
        return self._seconds

    def end(self) -> None:
        """After all turns: one step more, and whatever the loop does at its end."""
        self._run()
        self._thread.join()

    def _run(self) -> None:
        self._go.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error

    def __len__(self) -> int:
        return self.steps * self.turns + 1  # who knows the length does not ask beyond it

    def __iter__(self) -> Iterator[Any]:
        number, start = 0, self._now()  # the first turn began with the loop
        while True:
            for batch in self.batches:
                yield batch
                number += 1
                if number == len(self):
                    return
                if number % self.steps == 0:
                    self._seconds = (self._now() - start) / self.steps
                    self._done.release()
                    self._go.acquire()
                    start = self._now()

    @staticmethod
    def _now() -> float:
        synchronise()
        return time.perf_counter()
