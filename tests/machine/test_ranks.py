"""Which process of a run this is, and what must not be taken for one."""

import os
import sys

import pytest
import torch
from torch import nn

import attnlab
from attnlab.errors import AttnlabError, ConfigError
from attnlab.machine import hardware, ranks
from attnlab.records.agreement import decide_on_first_rank

HARDWARE = {"accelerator": "cpu", "devices": 2, "nodes": 1}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in os.environ:
        if name in ranks.PROCESS_GROUP or name.startswith(("SLURM_", "TORCHELASTIC_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "argv", ["run.py"])  # a worker of pytest has none


def test_a_python_without_a_command_starts_no_ranks(monkeypatch):
    for name in ("", "-", "-c"):
        monkeypatch.setattr(sys, "argv", [name])
        with pytest.raises(ConfigError, match=r"machine.devices=2: further ranks repeat the command"):
            ranks.check(HARDWARE, 2)
        ranks.check(HARDWARE | {"devices": 1}, 1)


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": "1", "LOCAL_RANK": "0"}, False),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, False),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, True),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, True),  # a batch script: nobody gave srun
    ],
)
def test_one_process_is_the_first(monkeypatch, environment, first):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ranks.is_first() is first


def test_a_batch_script_of_one_task_is_a_machine_like_any_other(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "1")
    ranks.forget_batch_script()
    assert "SLURM_NTASKS" not in os.environ
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    ranks.forget_batch_script()
    assert os.environ["SLURM_NTASKS"] == "2"


@pytest.mark.parametrize(
    ("environment", "who"),
    [
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "3"}, "torchrun started 3"),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "3", "SLURM_PROCID": "0"}, "srun started 3"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK=0 is set"),
        ({"nodes": "2"}, "machine.nodes=2: nothing starts this run on the other machines"),
        ({"LOCAL_RANK": "1", ranks.STARTED_BY: "1"}, "LOCAL_RANK=1 is set"),
    ],
)
def test_other_processes_than_asked_for(monkeypatch, environment, who):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=who):
        ranks.check(HARDWARE | {"nodes": int(environment.get("nodes", 1))}, 2)


def test_as_many_as_asked_for(monkeypatch):
    ranks.check(HARDWARE, 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(ranks.STARTED_BY, str(os.getppid()))
    ranks.check(HARDWARE, 2)
    assert ranks.is_further()


def test_a_process_group_of_an_earlier_run_is_refused(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        with pytest.raises(ConfigError, match="still has the process group of an earlier run"):
            attnlab.train(attnlab.config(["machine.accelerator=cpu", f"output_dir={tmp_path / 'outputs'}"]))
    finally:
        torch.distributed.destroy_process_group()
    assert not (tmp_path / "outputs").exists()


def test_what_a_record_says_of_batch_statistics():
    net, plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), nn.Conv2d(3, 4, 1)
    assert hardware.batch_statistics(net, HARDWARE | {"devices": 1}) == "batch"
    assert hardware.batch_statistics(net, HARDWARE) == "rank"
    assert hardware.batch_statistics(net, HARDWARE | {"sync_batchnorm": True}) == "batch"
    assert hardware.batch_statistics(plain, HARDWARE) == "none"


def test_too_little_memory_is_a_clear_word(tiny, monkeypatch):
    def full(*arguments, **knobs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of")

    monkeypatch.setattr("attnlab.training.classifier.F.cross_entropy", full)
    with pytest.raises(attnlab.errors.TrainingError) as caught:
        attnlab.train(attnlab.config([*tiny, "runs_per_gpu=3", "machine.accelerator=cpu"]))
    assert str(caught.value) == (
        "the GPU has too little memory left (2.00 GiB more were needed); runs_per_gpu=3: fewer, or "
        "recipe.batch_size=50: a smaller one, or more machine.devices"
    )


@pytest.mark.parametrize(
    ("environment", "program"),
    [
        ({"TORCHELASTIC_RUN_ID": "a", "RANK": "1", "LOCAL_RANK": "1"}, "torchrun"),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, "srun"),
    ],
)
def test_a_sweep_under_torchrun_or_srun_is_refused(monkeypatch, environment, program):
    ranks.refuse_sweep()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"^{program} starts .* machine=ddp, .* launcher=slurm$"):
        ranks.refuse_sweep()


def test_the_first_rank_decides_by_the_store_of_torchrun(monkeypatch):
    server = torch.distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    environment = {"TORCHELASTIC_RUN_ID": "a", "MASTER_ADDR": "localhost", "MASTER_PORT": str(server.port)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def fail():
        raise AttnlabError("planted")

    monkeypatch.setenv("RANK", "0")
    assert decide_on_first_rank("a/resume", lambda: [True, ""], "unused") == [True, ""]
    with pytest.raises(AttnlabError, match=r"^planted$"):
        decide_on_first_rank("a/trial", fail, "unused")
    monkeypatch.setenv("RANK", "1")
    assert decide_on_first_rank("a/resume", fail, "unused") == [True, ""]
    with pytest.raises(AttnlabError, match=r"^the first rank has failed: planted$"):
        decide_on_first_rank("a/trial", lambda: None, "unused")
