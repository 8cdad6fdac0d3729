"""What machine=auto chooses: threads and loader workers, shared among ranks and jobs; tracker threads stay out."""

import os

import pytest
import torch

import attnlab
from attnlab.configuration.compose import check
from attnlab.errors import ConfigError
from attnlab.machine import hardware


def settings(*overrides):
    return check(attnlab.config(list(overrides)))["machine"]


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(hardware, "cores", lambda: 8)


def test_cores_are_those_of_this_process():
    assert hardware.cores() == len(os.sched_getaffinity(0))


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize("key", ["threads", "workers"])
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [([], 8), (["machine.devices=2"], 4), (["machine.devices=[0,1,2]"], 2), (["machine.devices=16"], 1)],
)
def test_cores_are_shared_among_ranks(key, overrides, expected):
    assert hardware.share(settings("machine=cpu", *overrides), key) == expected


def test_what_is_given_is_taken():
    chosen = settings("machine.threads=3", "machine.workers=0")
    assert (hardware.share(chosen, "threads"), hardware.share(chosen, "workers")) == (3, 0)
    with pytest.raises(ConfigError, match=r"^wrong value machine\.workers=-1; allowed is an integer from 0, or null$"):
        settings("machine.workers=-1")


@pytest.mark.usefixtures("eight_cores")
def test_threads_yield_to_omp_num_threads(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    hardware.set_threads(settings())
    assert asked == []
    hardware.set_threads(settings("machine.threads=2"))
    monkeypatch.delenv("OMP_NUM_THREADS")
    hardware.set_threads(settings())
    assert asked == [2, 8]


def test_bf16_where_the_hardware_has_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for has, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(hardware, "cpu_has_bf16", lambda has=has: has)
        assert hardware.precision(settings()) == expected
    assert hardware.precision(settings("machine=debug")) == "32-true"


def test_compile_is_asked_for():
    assert not hardware.compiles({"compile": "auto"})
    assert not hardware.compiles({"compile": False})
    assert hardware.compiles({"compile": True})
    with pytest.raises(ConfigError, match=r"^wrong value machine\.compile=often; allowed is auto, true or false$"):
        attnlab.config(["machine.compile=often"])


def test_memory_is_kept_where_there_is_something_to_keep_it_with(monkeypatch):
    called = []
    library = type("Libc", (), {"mallopt": staticmethod(lambda *pair: called.append(pair))})
    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(hardware.sys, "platform", "darwin")
    hardware.keep_memory({"accelerator": "cpu"})
    assert not called
    monkeypatch.setattr(hardware.sys, "platform", "linux")
    hardware.keep_memory({"accelerator": "cpu"})
    assert len(called) == 2
