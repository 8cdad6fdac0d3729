"""A run that becomes far slower than it began says so once, with the likely cause."""

from types import SimpleNamespace

import pytest
import torch

from attnlab.machine import cpu
from attnlab.training import slow_steps
from attnlab.training.slow_steps import SlowSteps

FIRST_RANK = SimpleNamespace(is_global_zero=True)


class Clock:
    """A clock that `run` moves on by the time of each step."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr(cpu, "cores", lambda: 2)
    monkeypatch.setattr(cpu, "runnable_threads", lambda: 3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    clock = Clock()
    callback = SlowSteps("0123456789ab", clock)

    def run(steps, seconds, trainer=FIRST_RANK):
        """One epoch."""
        clock.now += 7  # of validation
        callback.on_train_epoch_start(trainer, None)
        for _ in range(steps + 1):
            clock.now += seconds
            callback.on_train_batch_end(trainer, None, None, None, 0)

    return run


def test_it_is_printed_once(watched, capsys):
    watched(5, 3.0)  # the warm-up
    watched(200, 0.1)
    assert capsys.readouterr().out == ""
    watched(200, 0.5)
    watched(200, 0.9)
    assert capsys.readouterr().out == (
        "0123456789ab: slow: 500 ms a step, 100 ms at the start; likely cause: 3 threads run or wait for 2 cores, so "
        "other programs use the CPU too\n"
    )


@pytest.mark.parametrize("later", [0.1, 0.15, 0.05])
def test_a_small_change_is_not_reported(watched, capsys, later):
    watched(100, 0.1)
    watched(500, later)
    assert capsys.readouterr().out == ""


def test_neither_a_short_phase_nor_a_single_long_step_is_reported(watched, capsys):
    watched(225, 0.1)
    watched(10, 0.5)
    watched(100, 0.1)
    watched(1, 60.0)
    watched(300, 0.1)
    assert capsys.readouterr().out == ""


def test_only_the_first_rank_prints(watched, capsys):
    for seconds in (0.1, 0.9):
        watched(200, seconds, SimpleNamespace(is_global_zero=False))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("runnable", "threads", "cause"),
    [
        (3, 2, "3 threads run or wait for 2 cores, so other programs use the CPU too; machine.threads=1 loses least"),
        (2, 2, "unknown; no other busy program is seen at this moment"),
        (None, 1, "unknown; no other busy program is seen at this moment"),
    ],
)
def test_the_cause(watched, monkeypatch, runnable, threads, cause):
    monkeypatch.setattr(cpu, "runnable_threads", lambda: runnable)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert (
        slow_steps.slow_line("id", 0.01, 0.2) == f"id: slow: 200 ms a step, 10 ms at the start; likely cause: {cause}"
    )
