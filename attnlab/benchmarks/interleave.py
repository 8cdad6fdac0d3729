"""Training loops that run in turn, some steps at a time; each has its own thread, and only one thread runs at a time.

A training loop such as Lightning's cannot be called step by step, but it must request every batch from its loader, and
the loader can make it wait there. In this way a slow phase of the machine affects all loops that are compared.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attnlab.benchmarks.timing import synchronise


class Turns:
    """One training loop, `run(loader)`, which runs `steps` more steps whenever `take` is called.

    batches: the loader's batches, repeated from the start when they run out;  turns: how often `take` is called. The
    loader has turns * steps batches, and one more for `end`.
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
        except BaseException as error:  # raised again by `take`, in the calling thread
            self._error = error
        self._done.release()

    def take(self) -> float:
        """Run one turn and return its seconds per step, up to the request for the next turn's first batch.

        Raises the exception that the loop raised.
        """
        self._run()
        return self._seconds

    def end(self) -> None:
        """After all turns, run one more step and let the loop finish."""
        self._run()
        self._thread.join()

    def _run(self) -> None:
        self._go.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error

    def __len__(self) -> int:
        return self.steps * self.turns + 1  # Lightning stops at this length and requests no further batch

    def __iter__(self) -> Iterator[Any]:
        number, start = 0, self._now()  # the first turn starts with the loop
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
