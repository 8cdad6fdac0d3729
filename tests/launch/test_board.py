"""What is seen of a sweep: the expected end, the tally, and the bars on a real (pseudo) terminal."""

import os
import pty
import re
import subprocess
import sys
from datetime import datetime

import pytest
from omegaconf import OmegaConf

from attnlab.launch.display import expected_end, tally
from attnlab.launch.job import Job, Pipe

NOW = datetime(2026, 1, 1, 12)


def job(state, share=0.0, seconds=0.0):
    made = Job(0, [], OmegaConf.create(), "id", state=state, share=share, seconds=seconds)
    if state == "running":
        made.state, made.seconds = "done", seconds  # `elapsed` of a running job reads the clock
    return made


def test_the_expected_end_comes_from_the_jobs_that_ended():
    jobs = [job("done", 1.0, 10.0), job("done", 1.0, 20.0), job("recorded"), *[job("waiting") for _ in range(4)]]
    assert (expected_end(jobs, 1, NOW) - NOW).total_seconds() == pytest.approx(4 * 15)
    assert (expected_end(jobs, 2, NOW) - NOW).total_seconds() == pytest.approx(2 * 15)
    assert (expected_end(jobs, 100, NOW) - NOW).total_seconds() == pytest.approx(15)


def test_no_end_is_expected_before_anything_is_done():
    assert expected_end([job("waiting"), job("recorded")], 1, NOW) is None
    assert expected_end([job("done", 1.0, 9.0)], 1, NOW) is None


def test_tally():
    jobs = [job("done", 1.0, 1.0), job("recorded"), job("double"), job("failed"), job("waiting")]
    assert re.fullmatch(r"3 of 5 done, 1 failed, 1 to go, ends about \d\d:\d\d:\d\d( on .*)?", tally(jobs, 1))
    assert tally(jobs[:4], 1) == "3 of 4 done, 1 failed, 0 to go"


def test_a_pipe_gives_whole_lines_and_never_waits():
    reader, writer = os.pipe()
    pipe = Pipe(reader)
    assert pipe.lines() == []
    os.write(writer, b"one\ntw")
    assert pipe.lines() == ["one"]
    os.write(writer, b"o\nthree")
    assert pipe.lines() == ["two"]
    os.close(writer)
    assert pipe.lines() == ["three"]
    assert not pipe.open


def on_a_terminal(*overrides):
    """(exit status, everything shown) of a sweep whose output is a terminal of 120 columns."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "LINES": "30", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "attnlab.run", "-m", *overrides],
        stdin=follower, stdout=follower, stderr=follower, env=environment, close_fds=True,
    )  # fmt: skip
    os.close(follower)
    shown = b""
    while True:
        try:
            read = os.read(leader, 1 << 16)
        except OSError:  # the last process let go of the terminal
            break
        if not read:
            break
        shown += read
    os.close(leader)
    return process.wait(), re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


@pytest.mark.slow
def test_bars_of_a_sweep_on_a_terminal(tiny):
    overrides = [*tiny, "dataset.train_size=1500", "attention=se", "attention.reduction=64,16,8", "n_jobs=2"]
    code, shown = on_a_terminal(*overrides)
    assert code == 1
    assert "2 of 3 done, 1 failed, 0 to go" in shown
    assert re.search(r"sweep 0 of 3 done", shown)
    assert re.search(r"#1 attention\.reduction=16 \w{12} .*\d+ %  [\d,]+ images/s", shown)  # only what differs
    # what jobs print stands above the bars, once, in whole lines
    for line in ("attention.reduction=64; allowed is an integer from 1 to 16", "finished, test error"):
        assert len(re.findall(rf"^.*{re.escape(line)}", shown, flags=re.MULTILINE)) == 2
    assert shown.count("starts, ") == 2
