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
    [(["machine.devices=2"], 4), (["machine.devices=[0,1,2]"], 2), (["machine.devices=16"], 1)],
)
def test_cores_are_shared_among_ranks(key, overrides, expected):
    assert hardware.share(settings("machine=cpu", *overrides), key) == expected


def test_a_single_run_on_a_cpu_leaves_one_core_to_others(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for cores, threads in ((8, 7), (2, 1), (1, 1)):
        monkeypatch.setattr(hardware, "cores", lambda cores=cores: cores)
        assert hardware.share(settings("machine=cpu"), "threads") == threads
        assert hardware.share(settings("machine=cpu"), "workers") == cores
        gpus(monkeypatch, 1)
        assert hardware.share(settings("machine=gpu"), "threads") == cores
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # Slurm gives its cores to this job only
    monkeypatch.setattr(hardware, "cores", lambda: 4)
    assert hardware.share(settings("machine=cpu"), "threads") == 4


def test_what_is_given_is_taken():
    chosen = settings("machine.threads=3", "machine.workers=0")
    assert (hardware.share(chosen, "threads"), hardware.share(chosen, "workers")) == (3, 0)
    with pytest.raises(ConfigError, match=r"^wrong value machine\.workers=-1; allowed is an integer from 0, or null$"):
        settings("machine.workers=-1")


@pytest.mark.usefixtures("eight_cores")
def test_threads_yield_to_omp_num_threads(monkeypatch):
    counts = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    hardware.set_threads(settings())
    assert counts == []
    hardware.set_threads(settings("machine.threads=2"))
    monkeypatch.delenv("OMP_NUM_THREADS")
    hardware.set_threads(settings())
    assert counts == [2, 7]


def test_bf16_where_the_hardware_has_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for has, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(hardware, "cpu_has_bf16", lambda has=has: has)
        assert hardware.precision(settings()) == expected
    assert hardware.precision(settings("machine=debug")) == "32-true"


def test_compile_is_off_unless_it_is_true():
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


def gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda"])
def test_all_gpus_are_as_many_ranks(monkeypatch, accelerator):
    gpus(monkeypatch, 4)
    chosen = settings(f"machine.accelerator={accelerator}", "machine.devices=auto")
    assert hardware.accelerator(chosen) == "gpu"
    assert hardware.rank_count(chosen) == 4
    assert hardware.several(chosen)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ("4", r"^wrong value machine\.devices=4; allowed on this machine is 1 to 1 GPUs$"),
        ("[0,1]", r"^wrong value machine\.devices=\[0, 1\]; allowed on this machine are GPU numbers from 0 to 0$"),
        ("[-1]", r"^wrong value machine\.devices=\[-1\]; allowed on this machine are GPU numbers from 0 to 0$"),
    ],
)
def test_more_gpus_than_there_are_is_one_message(monkeypatch, devices, message):
    gpus(monkeypatch, 1)
    for devices_there in ("1", "[0]", "auto"):
        hardware.check_devices(settings("machine=gpu", f"machine.devices={devices_there}"))
    with pytest.raises(ConfigError, match=message):
        hardware.check_devices(settings("machine=gpu", f"machine.devices={devices}"))


def test_more_processes_than_cores_is_one_message():
    count = os.cpu_count()
    for devices in (f"{count + 1}", "[0]"):
        with pytest.raises(ConfigError, match=f"allowed on this machine's CPU is 1 to {count} processes"):
            hardware.check_devices(settings("machine=cpu", f"machine.devices={devices}"))


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peak_memory_is_in_bytes_on_every_platform(monkeypatch, platform, unit):
    monkeypatch.setattr(hardware.sys, "platform", platform)
    monkeypatch.setattr(hardware.resource, "getrusage", lambda who: type("Usage", (), {"ru_maxrss": 3000}))
    assert hardware.peak_memory(torch.device("cpu")) == 3000 * unit


def test_a_saved_config_with_the_removed_key_strategy_can_be_used():
    values = attnlab.configuration.compose.plain(attnlab.config([]))
    values["machine"] = values["machine"] | {"strategy": "ddp"}
    assert attnlab.build(values) is not None
    with pytest.raises(ConfigError, match=r"unknown key machine\.strategy"):
        attnlab.config(["machine.strategy=ddp"])
