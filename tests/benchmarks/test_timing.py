"""Timing in turn: the order, the number of calls, and training loops that wait for each other."""

import pytest
import torch

from attnlab.benchmarks import timing
from attnlab.benchmarks.interleave import Turns
from attnlab.benchmarks.timing import in_turn, interleaved


def test_sides_alternate_and_none_always_comes_first():
    seen = []
    sides = {name: lambda name=name: seen.append(name) or float(len(seen)) for name in "abc"}
    seconds = in_turn(sides, 3)
    assert "".join(seen) == "abccbaabc"
    assert seconds == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_warm_up_comes_first_and_calls_are_the_same_in_all_rounds():
    seen = []
    sides = {name: lambda name=name: seen.append(name) for name in "ab"}
    seconds = interleaved(sides, 2, least=0, warm_up=2)
    assert "".join(seen) == "aabb" + "abba"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}
    assert all(time >= 0 for times in seconds.values() for time in times)


def test_short_sides_are_called_often_enough(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def short():
        clock[0] += 0.25
        calls.append(1)

    calls: list[int] = []
    seconds = interleaved({"short": short}, 1, least=3, warm_up=1)
    assert len(calls) == 1 + 1 + 12  # to warm up, to see how long it takes, and for 3 s
    assert seconds == {"short": [0.25]}


def loop(seen, name):
    def run(loader):
        for batch in loader:
            seen.append((name, batch))
        seen.append((name, "end"))

    return run


@pytest.mark.parametrize("steps", [1, 2])
def test_loops_take_turns(steps):
    seen = []
    turns = {name: Turns(loop(seen, name), range(3), steps, 2) for name in "ab"}
    in_turn({name: one.take for name, one in turns.items()}, 2)
    assert [name for name, _ in seen] == [name for name in "abba" for _ in range(steps)]
    assert [batch for name, batch in seen if name == "a"] == [0, 1, 2, 0][: 2 * steps]  # again from the start
    for one in turns.values():
        one.end()
    assert [name for name, batch in seen if batch == "end"] == ["a", "b"]
    assert len([1 for name, batch in seen if name == "a" and batch != "end"]) == 2 * steps + 1 == len(turns["a"])


def test_the_length_is_enough_for_all_turns():
    """Lightning stops at the loader's length."""
    seen = []

    def run(loader):
        batches = iter(loader)
        seen.extend(next(batches) for _ in range(len(loader)))

    turns = Turns(run, range(10), 2, 2)
    turns.take()
    turns.take()
    turns.end()
    assert seen == [0, 1, 2, 3, 4]


def test_an_error_of_a_loop_is_raised_by_take():
    def run(loader):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Turns(run, range(3), 1, 1).take()


def test_threads_of_loops_have_torchs_number_of_threads():
    found = []
    Turns(lambda loader: found.append(torch.get_num_threads()), [], 1, 1)._run()
    assert found == [torch.get_num_threads()]
