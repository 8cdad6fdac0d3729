"""One run on two processes: by Lightning's launch, by torchrun, on two nodes; what it counts, and how it ends."""

import csv
import os
import signal
import socket
import time

import pytest
from several import DDP, DIGITS, PLAIN, SMALL, finish, folders, left_behind, records, refused, run, start, sys, torchrun

PLANTED = [*DDP, DIGITS, "recipe.epochs=3", "seed=1"]


def curves(folder):
    (path,) = folder.glob("*/log.csv")
    return [
        {name: float(row[name]) for name in ("train/loss", "train/top1_error", "val/loss", "val/top1_error")}
        for row in csv.DictReader(path.open())
    ]


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_learns(tmp_path):
    """Without batch statistics: the same images in the same order, draws of each image's own, gradients the mean over
    images, although 301 images in batches of 50 share out unequally."""
    toy = [*SMALL, *PLAIN, "attention=se", "machine.precision=64-true", "recipe.epochs=3"]
    for name, more in (("one", []), ("two", ["machine.devices=2"])):
        code, _, err = run(*toy, *more, f"output_dir={tmp_path / name}")
        assert code == 0, err
    one, two = curves(tmp_path / "one"), curves(tmp_path / "two")
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    (single,), (double,) = records(tmp_path / "one").values(), records(tmp_path / "two").values()
    assert double["world_size"] == 2
    assert double["batch_statistics"] == single["batch_statistics"] == "none"
    for metric, value in single["metrics"].items():
        assert double["metrics"][metric] == pytest.approx(value, rel=1e-5), metric


@pytest.mark.slow
def test_a_run_with_bn_says_that_its_statistics_are_local(tmp_path):
    code, _, err = run(*DDP, f"output_dir={tmp_path}")
    assert code == 0, err
    (record,) = records(tmp_path).values()
    assert (record["world_size"], record["batch_statistics"]) == (2, "rank")


@pytest.mark.slow
def test_a_trial_leaves_nothing(tmp_path):
    code, out, err = run(*DDP, "machine.batches=2", f"output_dir={tmp_path}")
    assert code == 0, err
    assert "a trial, which leaves no record" in out
    assert not folders(tmp_path)
    code, out, err = torchrun(*DDP, "machine.batches=2", f"output_dir={tmp_path}")
    assert code == 0, err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_that_goes_on_with_other_ranks_says_that_its_statistics_are_mixed(tmp_path):
    overrides = [*SMALL, "recipe.epochs=6", "dataset.train_size=2000", f"output_dir={tmp_path}"]
    process = start(sys.executable, "-m", "attnlab.run", *overrides, "machine.devices=2")
    for line in process.stdout:
        if "epoch 2/6" in line:
            break
    process.kill()
    process.wait()
    assert not left_behind(tmp_path)
    code, out, err = run(*overrides)
    assert code == 0, err
    assert "goes on from last.ckpt" in out
    (record,) = records(tmp_path).values()
    assert (record["world_size"], record["batch_statistics"]) == (1, "mixed")


def test_sync_batchnorm_is_for_gpus(tmp_path):
    code, err = refused(*DDP, "machine.sync_batchnorm=true", f"output_dir={tmp_path}")
    assert code == 1
    assert "machine.sync_batchnorm=true; allowed on GPUs only" in err
    assert "Traceback" not in err
    assert not folders(tmp_path)


@pytest.mark.slow
def test_torchrun(tmp_path):
    code, out, err = torchrun(*DDP, f"output_dir={tmp_path}")
    assert code == 0, err
    assert out.count("finished, test error") == 1
    (record,) = records(tmp_path).values()
    assert record["world_size"] == 2


@pytest.mark.slow
def test_two_nodes(tmp_path):
    """Two agents of torchrun on one machine, one rank each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    agent = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}"]
    command = [sys.executable, "-m", "torch.distributed.run", *agent]
    overrides = ["-m", "attnlab.run", *DDP, "machine.devices=1", "machine.nodes=2", f"output_dir={tmp_path}"]
    other = start(*command, "--node-rank=1", *overrides)
    code, out, err = finish(*command, "--node-rank=0", *overrides)
    assert code == 0, err
    assert other.communicate(timeout=60)[0].count("finished") == 0
    assert other.returncode == 0
    assert out.count("finished, test error") == 1
    (record,) = records(tmp_path).values()
    assert record["world_size"] == 2


@pytest.mark.slow
def test_torchrun_with_another_number_of_processes_is_refused(tmp_path):
    code, _, err = torchrun(*SMALL, f"output_dir={tmp_path}")
    assert code == 1
    assert "machine.devices=1 with machine.nodes=1: torchrun started 2 processes in all" in err
    assert not folders(tmp_path)


def test_another_rank_of_nothing_is_refused(tmp_path):
    code, err = refused(*DDP, f"output_dir={tmp_path}", LOCAL_RANK="1")
    assert code == 1
    assert "LOCAL_RANK=1 is set in the environment, but neither torchrun nor srun" in err
    assert not folders(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "how", "message"),
    [
        ("all", "error", "planted"),
        (0, "error", "planted"),
        (1, "error", "rank 1: RuntimeError: planted"),
        (1, "kill", "rank 1 of 2 was killed by SIGKILL; the same command goes on from the last checkpoint"),
    ],
)
def test_an_error_ends_all_ranks(tmp_path, who, how, message):
    begun = time.monotonic()
    code, _, err = run(*PLANTED, f"+dataset.breaks={{1:[{who},{how}]}}", f"output_dir={tmp_path}", seconds=120)
    assert code == 1
    assert message in err
    assert time.monotonic() - begun < 90  # 60 s after the loss, start and three batches before it
    assert not left_behind(tmp_path)
    assert not records(tmp_path)


@pytest.mark.slow
def test_a_killed_rank_and_the_next_start_goes_on(tmp_path):
    overrides = [*DDP, "recipe.epochs=8", "dataset.train_size=2000", f"output_dir={tmp_path}"]
    process = start(sys.executable, "-m", "attnlab.run", *overrides)
    for line in process.stdout:
        if "epoch 2/8" in line:
            break
    (rank,) = [pid for pid in left_behind(tmp_path, seconds=0) if pid != process.pid]
    os.kill(rank, signal.SIGKILL)
    killed = time.monotonic()
    _, err = process.communicate(timeout=90)
    assert time.monotonic() - killed < 60
    assert process.returncode == 1
    assert "rank 1 of 2 was killed by SIGKILL" in err
    assert not left_behind(tmp_path)
    code, out, err = run(*overrides)
    assert code == 0, err
    assert "goes on from last.ckpt" in out
    (record,) = records(tmp_path).values()
    assert record["world_size"] == 2


@pytest.mark.slow
def test_a_killed_first_rank_leaves_no_other(tmp_path):
    process = start(sys.executable, "-m", "attnlab.run", *DDP, "recipe.epochs=50", f"output_dir={tmp_path}")
    for line in process.stdout:
        if "epoch 1/50" in line:
            break
    process.kill()
    process.wait()
    assert not left_behind(tmp_path)
