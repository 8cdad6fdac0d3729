"""launcher=slurm on a real Slurm of one node, started and stopped here."""

import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from cluster import missing, slurm
from several import DDP, DIGITS, SMALL, TABLE, environment, folders, metrics, records, run, start

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]
QUEUE = ["launcher=slurm", "hydra.launcher.partition=cpu", "hydra.launcher.cpus_per_task=1"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with ExitStack() as stack:
        try:
            env = stack.enter_context(slurm(tmp_path_factory.mktemp("slurm")))
        except (RuntimeError, OSError) as error:
            pytest.skip(f"Slurm does not start here: {error}")
        yield environment(SLURM_CONF=env["SLURM_CONF"])


def test_a_sweep_of_ranks_and_its_failure(cluster, tmp_path):
    """Two tasks a job, from machine.devices; what fails is told by the command that waits."""
    overrides = [*DDP, "attention=se", "attention.reduction=16,77,8", f"output_dir={tmp_path}"]
    code, out, err = run("-m", *QUEUE, *overrides, env=cluster, seconds=400)
    assert code == 1
    assert "launcher=slurm: 3 jobs" in out
    assert "1 failed, 0 not finished" in err
    assert "attention.reduction=77; allowed is an integer from 1 to 16" in err
    found = [path.parent.name for path in tmp_path.glob("*/result.json")]
    assert len(found) == 2
    tasks = sorted(path.name for path in (tmp_path / ".sweep/.submitit").glob("*_0/*_log.out"))
    assert len(tasks) == 2
    code, out, err = run("-m", *QUEUE, *overrides, env=cluster, seconds=400)
    assert out.count("found recorded") == 2
    assert "launcher=slurm: 1 jobs" in out


def test_a_rank_that_fails_is_told_by_the_command_that_waits(cluster, tmp_path):
    """Not in its own log alone."""
    planted = [DIGITS, "+dataset.breaks={1:[1,error]}", "seed=1,2", f"output_dir={tmp_path}"]
    code, _, err = run("-m", *QUEUE, *DDP, *planted, env=cluster, seconds=400)
    assert code == 1
    assert sorted(records(tmp_path)) == [2]
    assert "rank 1: RuntimeError: planted" in err
    assert not [*tmp_path.glob(".why*")]


def test_a_table_has_the_records_of_any_launcher(cluster, tmp_path):
    overrides = [*TABLE, "attention=none,cbam"]
    code, out, err = run(*QUEUE, *overrides, f"output_dir={tmp_path / 'slurm'}", env=cluster, seconds=400)
    assert code == 0, err
    assert "launcher=slurm: 2 jobs" in out
    code, _, err = run(*overrides, f"output_dir={tmp_path / 'local'}")
    assert code == 0, err
    assert metrics(tmp_path / "slurm") == metrics(tmp_path / "local")
    assert len(folders(tmp_path / "slurm")) == 2


def test_jobs_of_unequal_devices_are_refused(cluster, tmp_path):
    code, _, err = run(
        "-m", *QUEUE, *SMALL, "machine.devices=1,2", "seed=${machine.devices}", f"output_dir={tmp_path}", env=cluster
    )
    assert code == 1
    assert "machine.devices=2; allowed in this sweep is 1" in err
    assert not folders(tmp_path)


def test_a_preempted_job_is_requeued_and_goes_on(cluster, tmp_path):
    """As Slurm preempts: submitit's signal; the requeued job goes on from last.ckpt, to one record."""
    overrides = [
        *SMALL,
        "dataset.train_size=2000",
        "recipe.epochs=20",
        "seed=5",
        "force=true",
        f"output_dir={tmp_path}",
    ]
    process = start(sys.executable, "-m", "attnlab.run", "-m", *QUEUE, *overrides, env=cluster)
    deadline = time.monotonic() + 200
    while not any(tmp_path.glob("*/last.ckpt")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.5)
    queue = ["squeue", "--noheader", "--format=%i"]
    (job,) = subprocess.run(queue, env=cluster, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    subprocess.run(["scancel", "--signal=USR2", job], env=cluster, check=True)
    time.sleep(5)
    assert not any(tmp_path.glob("*/result.json"))
    # Slurm lets a requeued job wait for two minutes, and no sooner than it is back in the queue can that be changed
    now = ["scontrol", "update", f"JobId={job}", "StartTime=now"]
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        log = subprocess.run(["scontrol", "show", "job", job], env=cluster, capture_output=True, text=True).stdout
        if "Restarts=1" in log and "JobState=RUNNING" in log:
            break
        subprocess.run(now, env=cluster, capture_output=True, check=False)
        time.sleep(1)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    (record,) = records(tmp_path).values()
    assert record["status"] == "finished"
    logs = "".join(path.read_text() for path in (tmp_path / ".sweep/.submitit").glob("**/*_log.out"))
    assert "goes on from last.ckpt" in logs
