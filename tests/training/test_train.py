"""train: a config is checked once, progress and a lost rank reach the callbacks that the caller has passed."""

import subprocess
import sys

import pytest

import attnlab
from attnlab.configuration.compose import check
from attnlab.configuration.schema import CHECKS
from attnlab.errors import ConfigError
from attnlab.training import ddp


@pytest.fixture
def checked(monkeypatch):
    """A list with an entry for each time that a config was checked."""
    calls = []
    test, allowed = CHECKS["seed"]
    monkeypatch.setitem(CHECKS, "seed", (lambda value: calls.append(value) or test(value), allowed))
    return calls


def test_a_config_is_checked_once(tiny, checked):
    cfg = attnlab.config(tiny)
    assert len(checked) == 1
    attnlab.train(cfg)
    assert len(checked) == 2  # by train, not again by what it calls
    values = check(cfg)
    attnlab.train(values)
    attnlab.build(values)
    assert len(checked) == 3


def test_a_changed_copy_of_a_checked_config_is_checked(tiny):
    values = check(attnlab.config(tiny))
    for entry in (attnlab.train, attnlab.build):
        with pytest.raises(ConfigError, match=r"^wrong value seed=-1; allowed is an integer from 0"):
            entry(values | {"seed": -1})


def test_progress_is_reported(tiny):
    reported = []
    attnlab.train(attnlab.config(tiny), on_progress=lambda done, rate: reported.append((done, rate)))
    assert reported
    assert all(0 < done <= 1 and rate > 0 for done, rate in reported)
    assert reported == sorted(reported, key=lambda pair: pair[0])


def test_a_lost_rank_ends_the_run_with_its_reason(monkeypatch, capsys):
    """The watch itself, without Lightning: one of two further ranks ends with status 3, the other never ends."""
    ended, reasons = [], []
    monkeypatch.setattr(ddp, "EXIT_SECONDS", 0)
    monkeypatch.setattr(ddp.os, "_exit", ended.append)
    commands = ("import time; time.sleep(60)", "raise SystemExit(3)")
    processes = [subprocess.Popen([sys.executable, "-c", command]) for command in commands]
    watch = ddp.RankWatch(reasons.append, None)
    watch._watch(processes)
    reason = "rank 2 of 3 ended with status 3; the same command goes on from the last checkpoint"
    assert (ended, reasons) == ([1], [reason])
    assert capsys.readouterr().err == f"attnlab: {reason}\n"
    assert [process.wait(timeout=10) for process in processes] == [-9, 3]
    monkeypatch.setenv(ddp.STARTED_BY, "1")
    assert watch.reason(RuntimeError("Connection closed by peer")) == reason


def test_an_error_without_a_lost_rank_keeps_its_own_message():
    assert ddp.RankWatch().reason(RuntimeError("shapes do not match")) is None
