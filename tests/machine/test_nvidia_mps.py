"""The launcher's own MPS daemon, with a stand-in for nvidia-cuda-mps-control on PATH."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warm import warm

import attnlab
from attnlab.configuration.identity import run_id
from attnlab.machine import nvidia_mps
from attnlab.machine.sharing import Sharing, choose_sharing

#: answers as the control program does: -d starts a daemon (a file), other commands need one; each call is written down
CONTROL = f"""#!{sys.executable}
import os, sys
folder = os.environ["CUDA_MPS_PIPE_DIRECTORY"]
command = "-d" if sys.argv[1:] == ["-d"] else sys.stdin.read().strip()
with open(os.environ["CALLS"], "a") as calls:
    print(command, folder, file=calls)
if command == "-d" and os.environ.get("BROKEN"):
    print("An instance of this daemon is already running")
    sys.exit(1)
daemon = os.path.join(folder, "daemon")
if command == "-d":
    open(daemon, "w").close()
elif not os.path.exists(daemon):
    sys.exit("Cannot find MPS control daemon process")
elif command == "quit":
    os.remove(daemon)
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A function that returns the commands that the control program was given, as (command, folder)."""
    program = tmp_path / "bin" / nvidia_mps.CONTROL
    program.parent.mkdir()
    program.write_text(CONTROL)
    program.chmod(0o755)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.delenv(nvidia_mps.PIPES, raising=False)

    def read():
        path = tmp_path / "calls"
        return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []

    return read


def test_a_daemon_of_its_own_is_started_and_stopped(calls):
    with nvidia_mps.side_by_side() as started:
        assert started
        folder = Path(os.environ[nvidia_mps.PIPES])
        assert os.environ[nvidia_mps.LOGS] == str(folder)
        assert folder.stat().st_mode & 0o077 == 0  # nobody else's
        assert folder.name.startswith(f"attnlab-mps-{os.getuid()}-{os.getpid()}-")
    assert nvidia_mps.PIPES not in os.environ
    assert calls() == [(command, str(folder)) for command in ("-d", "get_server_list", "quit")]
    assert not folder.exists()


def test_a_daemon_is_stopped_after_an_error(calls):
    with pytest.raises(KeyboardInterrupt), nvidia_mps.side_by_side():
        raise KeyboardInterrupt
    assert calls()[-1][0] == "quit"


def test_where_mps_cannot_start_one_line_says_why(calls, monkeypatch, capsys):
    monkeypatch.setenv("BROKEN", "1")
    with nvidia_mps.side_by_side() as started:
        assert not started
        assert nvidia_mps.PIPES not in os.environ
    assert [command for command, _ in calls()] == ["-d"]
    line = "NVIDIA MPS did not start: An instance of this daemon is already running; runs share the GPU in turns\n"
    assert capsys.readouterr().out == line


def test_a_daemon_of_the_users_own_is_used_and_left_alone(calls, monkeypatch, tmp_path):
    monkeypatch.setenv(nvidia_mps.PIPES, str(tmp_path / "mine"))
    with nvidia_mps.side_by_side() as started:
        assert started
    assert os.environ[nvidia_mps.PIPES] == str(tmp_path / "mine")
    assert calls() == []


def test_a_daemon_whose_launcher_was_killed_is_stopped_by_the_next(calls, tmp_path):
    code = "import time; from attnlab.machine.nvidia_mps import side_by_side\n"
    code += "with side_by_side(): print('up', flush=True); time.sleep(60)"
    killed = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert killed.stdout.readline() == "up\n"
    killed.kill()
    killed.communicate()
    (forgotten,) = (tmp_path / "tmp").iterdir()
    other = tmp_path / "tmp" / f"attnlab-mps-{os.getuid()}-{os.getpid()}-alive"  # of a launcher that is alive: this one
    other.mkdir()
    with nvidia_mps.side_by_side():
        assert ("quit", str(forgotten)) in calls()
        assert not forgotten.exists()
    assert other.exists()
    assert ("quit", str(other)) not in calls()


def test_small_images_are_trained_by_many_runs_and_large_ones_by_one(calls, monkeypatch):
    monkeypatch.setattr("attnlab.machine.hardware.cores", lambda: 48)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert choose_sharing([32, 64]) == Sharing(16, True)
    assert choose_sharing([32, 224]) == Sharing(1, False)
    assert (Sharing(16, True).runs, Sharing(16, False).runs, Sharing(1, False).runs) == (16, 4, 1)
    monkeypatch.setattr("attnlab.machine.hardware.cores", lambda: 6)
    assert Sharing(16, True).runs == 3  # a core for each run


def test_jobs_of_a_sweep_share_a_gpu_and_one_that_is_killed_is_one_failure(tiny, calls, monkeypatch, tmp_path):
    """GPUs are names here: the jobs train on the CPU, each with a place on GPU 0."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    sweep = [sys.executable, "-m", "attnlab.run", "-m", *tiny, "seed=0,1,2", "n_jobs=2", "runs_per_gpu=auto"]
    dry = warm([*sweep, "dry_run=true"])
    assert "dry run: 3 jobs, 3 would run\n" in dry.stdout  # no rate is known for these runs
    assert calls() == []
    victim = Path(attnlab.config([*tiny]).output_dir) / run_id(attnlab.config([*tiny, "seed=1"]))
    process = subprocess.Popen(
        [*sweep, "recipe.epochs=2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (victim / "config.yaml").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    for job in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((job / "stat").read_text().rsplit(")", 1)[1].split()[1])
            locked = any(victim.name in str(path.readlink()) for path in (job / "fd").iterdir())
        except OSError:
            continue
        if parent == process.pid and locked:
            os.kill(int(job.name), signal.SIGKILL)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "killed by SIGKILL" in err
    assert out.count("finished, test error") == 2
    assert "sweep: 2 runs at a time, up to " in out
    assert [command for command, _ in calls()] == ["-d", "get_server_list", "quit"]
    records = [json.loads(path.read_text()) for path in victim.parent.glob("*/result.json")]
    cores = len(os.sched_getaffinity(0))
    assert [(record["n_jobs"], record["runs_per_gpu"]) for record in records] == [(2, min(16, cores))] * 2
    assert not list((tmp_path / "tmp").glob("attnlab-mps-*"))
