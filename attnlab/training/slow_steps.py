"""Notice, on a CPU, that training has become far slower than it began, and print once what the likely cause is."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from attnlab.machine import cpu

WARM_UP = 5  # steps that are not timed
FIRST = 20  # steps whose median time is the speed of the start
LATER_SECONDS = 10.0  # that later steps take together, at least FIRST // 2 of them, before they are compared
FAR_BELOW = 0.6  # of the speed at the start


class SlowSteps(Callback):
    """Prints one line when the median step of some seconds has less than FAR_BELOW of the speed at the start.

    A step lasts from the end of one batch to the end of the next in one epoch, with the time that its images take.
    run: its title, which begins the line;  clock: seconds.
    """

    def __init__(self, run: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self.run, self.clock = run, clock
        self.first: float | None = None  # seconds a step at the start
        self.printed = False
        self._previous: float | None = None  # when the previous batch ended
        self._steps = 0
        self._times: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._previous = None

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.printed or not trainer.is_global_zero:
            return
        now, previous = self.clock(), self._previous
        self._previous = now
        if previous is None:
            return
        self._steps += 1
        if self._steps > WARM_UP:
            self._times.append(now - previous)
        if self.first is None:
            if len(self._times) == FIRST:
                self.first, self._times = median(self._times), []
        elif len(self._times) >= FIRST // 2 and sum(self._times) >= LATER_SECONDS:
            if median(self._times) > self.first / FAR_BELOW:
                self.printed = True
                print(slow_line(self.run, self.first, median(self._times)), flush=True)
            self._times = []


def slow_line(run: str, first: float, now: float) -> str:
    """The line: seconds a step at the start and now, and the likely cause."""
    cores, runnable = cpu.cores(), cpu.runnable_threads()
    if runnable is not None and runnable > cores:
        cause = f"{runnable} threads run or wait for {cores} core{'s' * (cores > 1)}, so other programs use the CPU too"
        if torch.get_num_threads() > 1:
            cause += "; machine.threads=1 loses least"
    else:
        cause = "unknown; no other busy program is seen at this moment"
    return f"{run}: slow: {1000 * now:.0f} ms a step, {1000 * first:.0f} ms at the start; likely cause: {cause}"
