"""n_jobs=null on a CPU, threads that sleep, and what the CPU is called."""

import subprocess
import sys

import pytest

from attnlab.machine import cpu, gpus

GIB = 2**30


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(cpu, "cores", lambda: 8)
    monkeypatch.setattr(cpu, "available_memory", lambda: 64 * GIB)
    monkeypatch.setenv(gpus.VISIBLE, "")


@pytest.mark.usefixtures("eight_cores")
def test_no_n_jobs_is_one_job_for_each_core():
    assert gpus.jobs_at_a_time(None, 1) == gpus.jobs_at_a_time(None, 3) == 8
    assert gpus.jobs_at_a_time(None, 1, "cpu", devices=2) == 4
    assert gpus.jobs_at_a_time(None, 1, "cpu", threads=4) == 2
    assert gpus.jobs_at_a_time(None, 1, "cpu", devices=16) == 1
    assert gpus.jobs_at_a_time(1, 1) == 1
    assert gpus.jobs_at_a_time(None, 1, "mps") == 1


@pytest.mark.usefixtures("eight_cores")
def test_no_n_jobs_on_gpus_is_what_the_gpus_have_place_for(monkeypatch):
    monkeypatch.setenv(gpus.VISIBLE, "0,1")
    assert gpus.jobs_at_a_time(None, 2) == 4
    assert gpus.jobs_at_a_time(None, 2, "cpu") == 8


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(("gib", "jobs"), [(7, 3), (1, 1), (16, 8), (1000, 8)])
def test_memory_limits_the_jobs(monkeypatch, gib, jobs):
    monkeypatch.setattr(cpu, "available_memory", lambda: gib * GIB)
    assert gpus.jobs_at_a_time(None, 1) == jobs


@pytest.mark.usefixtures("eight_cores")
def test_memory_that_is_not_known_does_not_limit_them(monkeypatch):
    monkeypatch.setattr(cpu, "available_memory", lambda: None)
    assert gpus.jobs_at_a_time(None, 1) == 8


@pytest.mark.parametrize(
    ("meminfo", "limit", "expected"),
    [
        ("MemTotal: 9 kB\nMemAvailable: 4 kB\n", None, 4096),
        ("MemAvailable: 4 kB\n", "max\n", 4096),
        ("MemAvailable: 4 kB\n", "1000\n", 1000),
        ("MemTotal: 9 kB\n", "1000\n", 1000),
        (None, None, None),
    ],
)
def test_available_memory_is_that_of_the_machine_or_the_container(tmp_path, monkeypatch, meminfo, limit, expected):
    monkeypatch.setattr(cpu, "PROC", tmp_path)
    monkeypatch.setattr(cpu, "CGROUP", tmp_path)
    for name, text in (("meminfo", meminfo), ("memory.max", limit)):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert cpu.available_memory() == expected


def test_runnable_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu, "PROC", tmp_path)
    assert cpu.runnable_threads() is None
    (tmp_path / "loadavg").write_text("0.69 2.11 3.53 3/214 9938\n")
    assert cpu.runnable_threads() == 3


@pytest.mark.parametrize(
    ("flags", "units"), [("avx2", ""), ("avx512_bf16 avx512f", "AVX512-BF16"), ("avx512_bf16 amx_bf16", "AMX")]
)
def test_matrix_units(tmp_path, monkeypatch, flags, units):
    monkeypatch.setattr(cpu, "PROC", tmp_path)
    (tmp_path / "cpuinfo").write_text(f"flags\t: {flags}\n")
    assert cpu.matrix_units() == units


DOOR = """
import os, sys
from attnlab.configuration.cli import command_line
from attnlab.{door} import main
assert "torch" not in sys.modules, "the door imports torch"
@command_line()
def show():
    assert "torch" not in sys.modules, "torch is imported too early"
    import torch
    print(os.environ["OMP_WAIT_POLICY"])
show()
"""


@pytest.mark.parametrize("door", ["run", "judge", "look", "evaluate", "bench"])
def test_idle_threads_sleep_because_it_is_set_before_torch_is_imported(door, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    command = [sys.executable, "-c", DOOR.format(door=door)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "PASSIVE\n"


def test_a_wait_policy_that_is_given_stays(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    cpu.wait_passively()
    assert cpu.os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
