"""A table on any launcher gives the same records; recorded runs are not submitted; failures are printed."""

import os
import subprocess
import sys

import pytest
from several import SMALL, TABLE, folders, left_behind, metrics, refused, run

import attnlab
from attnlab.configuration import groups
from attnlab.configuration.explain import explain
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.machine import cpu, gpus


@pytest.fixture(scope="module")
def by_local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    code, _, err = run(*TABLE, "n_jobs=2", f"output_dir={folder}")
    assert code == 0, err
    return metrics(folder)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["ray", "basic"])
def test_a_table_has_the_same_records_on_any_launcher(tmp_path, by_local, launcher):
    ray = ["launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"]
    overrides = [
        *TABLE,
        f"output_dir={tmp_path / 'outputs'}",
        *(ray if launcher == "ray" else ["hydra/launcher=basic"]),
    ]
    code, out, err = run(*overrides, seconds=400)
    assert code == 0, err
    assert f"launcher={launcher}: 5 jobs" in out
    assert metrics(tmp_path / "outputs") == by_local
    assert len(folders(tmp_path / "outputs")) == 5
    code, out, err = run(*overrides)
    assert code == 0, err
    assert f"launcher={launcher}: " not in out  # nothing is submitted
    assert not left_behind(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["launcher=ray", "hydra/launcher=basic"])
def test_one_failure_is_one_failure(tmp_path, launcher):
    overrides = ["attention=se", "attention.reduction=16,77,8", launcher, f"output_dir={tmp_path}"]
    code, _, err = run("-m", *SMALL, *overrides, seconds=400)
    assert code == 1
    assert len(metrics(tmp_path)) == 2
    assert "1 failed, 0 not finished" in err
    assert "attention.reduction=77; allowed is an integer from 1 to 16" in err


@pytest.mark.parametrize("launcher", ["ray", "slurm"])
def test_a_wrong_value_is_printed_before_anything_is_submitted(tmp_path, launcher):
    code, err = refused("-m", *SMALL, "recipe.epochs=1,0", f"launcher={launcher}", f"output_dir={tmp_path}")
    assert code == 1
    assert "wrong value recipe.epochs=0; allowed is an integer from 1" in err
    assert "Traceback" not in err
    assert not folders(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["launcher=ray", "runs_per_gpu=abc", "n_jobs=null", "seed=0,1"], "runs_per_gpu=abc; allowed is an integer"),
        (["launcher=joblib", "seed=0,1"], "removed choice launcher=joblib; use launcher=local n_jobs=N"),
        (
            ["launcher=slurm", "machine.devices=auto", "seed=0,1"],
            "machine.devices=auto; allowed with launcher=slurm is",
        ),
        (["launcher=slurm", "hydra.launcher.partitionn=gpu", "seed=0,1"], "did you mean hydra.launcher.partition?"),
        (["launcher=ray", "hydra.job.chdir=true", "seed=0,1"], "hydra.job.chdir=true; allowed with launcher=ray"),
        (["n_jobs=2", "machine.devices=auto", "seed=0,1"], "n_jobs=2; allowed with machine.devices=auto is 1"),
        (
            ["launcher=slurm", "hydra.launcher.tasks_per_node=2", "seed=0,1"],
            "machine.devices=1; allowed in this sweep is 2",
        ),
    ],
)
def test_wrong_numbers_are_one_message(tmp_path, overrides, message):
    code, err = refused("-m", *SMALL, *overrides, f"output_dir={tmp_path}")
    assert code == 1
    assert message in err
    assert "interpolation" not in err
    assert len(err.strip().splitlines()) == 1
    assert not folders(tmp_path)


def test_a_launcher_without_a_sweep_is_refused(tmp_path):
    code, err = refused(*SMALL, "launcher=ray", f"output_dir={tmp_path}")
    assert code == 1
    assert "wrong value launcher=ray; allowed without -m is local" in err


def test_a_launcher_that_is_not_installed_says_what_it_needs(monkeypatch):
    error = Exception(
        "Could not find 'hydra/launcher/submitit_slurm'\n\nAvailable options in 'hydra/launcher':\n\tbasic"
    )
    assert (
        explain(error) == "missing package hydra-submitit-launcher, which launcher=slurm needs; install attnlab[slurm]"
    )
    assert set(groups.LAUNCHER_PACKAGES) == {"ray", "submitit_slurm"}


def test_a_launcher_is_no_science():
    plain = run_id(attnlab.config([]))
    assert {run_id(attnlab.config([f"launcher={name}", "runs_per_gpu=3"])) for name in groups.choices("launcher")} == {
        plain
    }


def machine(**more):
    return {"accelerator": "auto", "devices": 1} | more


def test_gpus_are_given_as_cuda_names_them(monkeypatch):
    monkeypatch.setenv(gpus.VISIBLE, "3,GPU-5a")
    assert gpus.ids() == ["3", "GPU-5a"]
    assert gpus.jobs_at_a_time(None, 2) == 4
    assert gpus.jobs_at_a_time(3, 2) == 3
    assert gpus.wanted(machine()) == 1
    assert gpus.wanted(machine(devices=2)) == 2
    assert gpus.wanted(machine(devices="auto")) == gpus.wanted(machine(accelerator="cpu")) == 0
    assert (gpus.gpu_share("auto", 4), gpus.gpu_share("cpu", 4)) == (0.25, 0)
    assert (gpus.gpus_per_node("gpu", 4), gpus.gpus_per_node("cpu", 4)) == (4, None)
    monkeypatch.setenv(gpus.VISIBLE, "")
    assert gpus.ids() == []
    assert gpus.jobs_at_a_time(None, 2) == cpu.jobs_at_a_time(1)
    with pytest.raises(ConfigError, match=r"machine.devices=1; allowed on this machine is 1 to 0 GPUs"):
        gpus.held(1, 1).__enter__()


HOLD = """
import os, sys
from attnlab.machine import gpus
with gpus.held(int(sys.argv[1]), int(sys.argv[2])) as taken:
    assert os.environ[gpus.VISIBLE] == ",".join(taken)
    print(*taken, flush=True)
    sys.stdin.read()
"""


def hold(count, runs_per_gpu, tmp_path):
    env = {**os.environ, gpus.VISIBLE: "0,1", "TMPDIR": str(tmp_path)}
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(count), str(runs_per_gpu)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip


def test_jobs_share_gpus_and_a_killed_one_gives_them_back(tmp_path):
    jobs = [hold(1, 2, tmp_path)]
    given = [jobs[0].stdout.readline().split()]
    for _ in range(3):
        jobs.append(hold(1, 2, tmp_path))
        given.append(jobs[-1].stdout.readline().split())
    assert given == [["0"], ["1"], ["0"], ["1"]]  # an empty GPU first
    both = hold(2, 2, tmp_path)
    assert "all GPUs are taken (0, 1, runs_per_gpu=2); this job waits" in both.stdout.readline()
    jobs[0].kill()
    jobs[3].kill()
    assert both.stdout.readline().split() == ["0", "1"]
    for job in (*jobs, both):
        job.kill()
        job.communicate()
