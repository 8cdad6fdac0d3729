"""map_forked: a function in several processes, and how its errors arrive."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from attnlab.errors import AttnlabError, ConfigError
from attnlab.machine.processes import map_forked


def place(number):
    time.sleep(0.3 - 0.05 * number)  # the first items take longest
    return number, os.getpid()


def refuse_three(number):
    if number == 3:
        raise ConfigError("wrong value number=3")
    return number


def die_at_two(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wait_long(number):
    if number:
        time.sleep(60)
    return number


def test_results_come_in_order_from_other_processes():
    found = list(map_forked(place, range(6), 2))
    assert [number for number, _ in found] == list(range(6))
    pids = {pid for _, pid in found}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_one_process_is_this_one_and_computes_when_asked():
    started = []
    found = map_forked(lambda number: started.append(number) or os.getpid(), range(3), 1)
    assert started == []
    assert next(found) == os.getpid()
    assert started == [0]


def test_an_error_arrives_as_it_was_raised():
    found = map_forked(refuse_three, range(6), 2)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ConfigError, match=r"^wrong value number=3$"):
        next(found)
    assert multiprocessing.active_children() == []


def test_a_killed_process_is_one_message():
    with pytest.raises(AttnlabError, match="a process was killed, perhaps for lack of memory"):
        list(map_forked(die_at_two, range(6), 2))


def test_the_processes_end_with_the_caller():
    """Closing the results, as Ctrl-C does, does not wait for what is being computed."""
    found, started = map_forked(wait_long, range(4), 2), time.monotonic()
    assert next(found) == 0
    with pytest.raises(KeyboardInterrupt):
        found.throw(KeyboardInterrupt)
    assert time.monotonic() - started < 30
    assert multiprocessing.active_children() == []


def test_it_ends_its_own_processes_only():
    other = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    other.start()
    try:
        with pytest.raises(ConfigError):
            list(map_forked(refuse_three, range(6), 2))
        assert other.is_alive()
        assert multiprocessing.active_children() == [other]
    finally:
        other.kill()
        other.join()


COMMAND = """
import os, sys, time
from attnlab.configuration.cli import command_line
from attnlab.machine.processes import map_forked

def work(number):
    os.write(1, f"started {os.getpid()}\\n".encode())  # at once, since two processes write
    time.sleep(60)

@command_line(interrupted="interrupted here")
def main():
    found = map_forked(work, range(4), 2)
    time.sleep(float(sys.argv[1]))
    list(found)

main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("asked_after", [0, 60])  # seconds until the caller asks for the results
def test_a_signal_ends_the_command_and_its_processes(number, asked_after):
    """SIGINT goes to all processes, as Ctrl-C does; the others to the caller only."""
    command = [sys.executable, "-c", COMMAND, str(asked_after)]
    done = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    pids = [int(done.stdout.readline().split()[1]) for _ in range(2)]
    if number == signal.SIGINT:
        os.killpg(done.pid, number)
    else:
        os.kill(done.pid, number)
    _, error = done.communicate(timeout=30)
    if number == signal.SIGKILL:
        assert (done.returncode, error) == (-signal.SIGKILL, "")
    else:
        assert (done.returncode, error) == (130, "attnlab: interrupted here\n")
    deadline = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
