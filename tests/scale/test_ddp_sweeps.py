"""Sweeps of runs on two processes, every row of the ways that go wrong elsewhere: each job trains on both ranks, ends,
leaves one record and one folder; or is refused with one message."""

import pytest
from several import DDP, DIGITS, SMALL, folders, left_behind, records, refused, run, torchrun

SEEDS = "seed=1,2,3"


def check(tmp_path, seeds, world=2):
    found = records(tmp_path)
    assert sorted(found) == seeds
    assert {record["world_size"] for record in found.values()} == {world}
    assert len(folders(tmp_path)) == len(seeds)
    assert not left_behind(tmp_path)


@pytest.mark.slow
def test_each_job_of_a_sweep_trains_on_both_ranks(tmp_path):
    """And has one W&B run."""
    overrides = [*DDP, "seed=1,2", "tracker=wandb_offline", f"output_dir={tmp_path}"]
    code, out, err = run("-m", *overrides)
    assert code == 0, err
    check(tmp_path, [1, 2])
    assert out.count("finished, test error") == 2
    for folder in folders(tmp_path):
        (offline,) = (folder / "wandb").glob("offline-run-*")
        assert offline.name.endswith(folder.name)
    code, out, err = run("-m", *overrides)
    assert (code, out.count("found recorded")) == (0, 2), err


@pytest.mark.slow
@pytest.mark.parametrize("devices", ["1,2", "2,1"])
def test_jobs_of_one_and_two_devices_mix(tmp_path, devices):
    code, _, err = run("-m", *SMALL, f"machine.devices={devices}", "seed=${machine.devices}", f"output_dir={tmp_path}")
    assert code == 0, err
    assert {seed: record["world_size"] for seed, record in records(tmp_path).items()} == {1: 1, 2: 2}
    assert not left_behind(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "how", "message"),
    [
        ("all", "error", "RuntimeError: planted"),
        (1, "error", "rank 1: RuntimeError: planted"),
        (1, "kill", "rank 1 of 2 was killed by SIGKILL"),
    ],
)
def test_one_failure_is_one_failure(tmp_path, who, how, message):
    code, out, err = run(
        "-m", *DDP, DIGITS, f"+dataset.breaks={{2:[{who},{how}]}}", SEEDS, f"output_dir={tmp_path}", seconds=300
    )
    assert code == 1
    assert sorted(records(tmp_path)) == [1, 3]
    assert out.count("finished, test error") == 2
    assert message in err
    assert "1 failed, 0 not finished" in err
    assert not left_behind(tmp_path)


@pytest.mark.slow
def test_a_sweep_under_torchrun_is_refused(tmp_path):
    code, out, err = torchrun("-m", *DDP, "seed=1,2", f"output_dir={tmp_path}")
    assert code == 1
    messages = [line for line in err.splitlines() if line.startswith("attnlab: ")]
    assert len(messages) == 1
    assert messages[0].startswith("attnlab: torchrun starts the processes of single runs, not of a sweep or a table")
    assert messages[0].endswith("machine=ddp, for several devices a job, and launcher=slurm")
    assert "Traceback (most recent call last)" not in err.split("attnlab: ")[0]
    assert not folders(tmp_path)


@pytest.mark.parametrize("launcher", ["launcher=ray", "hydra/launcher=basic", "hydra/launcher=submitit_local"])
def test_what_cannot_start_ranks_is_refused(tmp_path, launcher):
    code, err = refused("-m", *DDP, "seed=1,2", launcher, f"output_dir={tmp_path}")
    assert code == 1
    assert f"machine.devices=2; allowed with {launcher} is 1" in err
    assert "Traceback" not in err
    assert not folders(tmp_path)


@pytest.mark.slow
def test_hydras_own_launcher_refuses_ranks_and_runs_the_rest(tmp_path):
    code, _, err = run("-m", *DDP, "seed=1,2", "hydra/launcher=basic", f"output_dir={tmp_path / 'two'}")
    assert code == 1
    assert "machine.devices=2; allowed with hydra/launcher=basic is 1" in err
    code, _, err = run("-m", *SMALL, "seed=1,2", "hydra/launcher=basic", f"output_dir={tmp_path / 'one'}")
    assert code == 0, err
    check(tmp_path / "one", [1, 2], world=1)
