"""The launcher: a process a job, failures printed and survived, kills survived, nothing trained twice."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
import warm

import attnlab
from attnlab.configuration.identity import run_id
from attnlab.machine import cpu


def start(*overrides, env=None):
    return warm.start([sys.executable, "-m", "attnlab.run", "-m", *overrides], env)


def finish(*overrides):
    done = warm.warm([sys.executable, "-m", "attnlab.run", "-m", *overrides])
    return done.returncode, done.stdout, done.stderr


def folder(overrides):
    cfg = attnlab.config(overrides)
    return Path(cfg.output_dir) / run_id(cfg)


def descendants(pid):
    """Processes below `pid`, from /proc."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        for child in children.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_every_job_is_its_own_process_and_one_failure_is_one_failure(tiny):
    code, out, err = finish(*tiny, "attention=se", "attention.reduction=64,16,8", "n_jobs=2")
    assert code == 1
    assert out.count("finished, test error") == 2
    named = r"#0 [0-9a-f]{12} attention\.reduction=64: wrong value attention\.reduction=64; allowed is an integer "
    assert len(re.findall(named, err)) == 2  # at once, and at the end
    assert "1 failed, 0 not finished" in err
    assert "sweep: 2 of 3 done, 1 failed, 0 to go" in out
    assert "Traceback" not in err
    # again: what is recorded is skipped, what failed is tried again
    code, out, err = finish(*tiny, "attention=se", "attention.reduction=64,16,8")
    assert (code, out.count("found recorded"), out.count("finished, test error")) == (1, 2, 0)


def test_without_n_jobs_there_is_a_job_for_each_core_and_the_cores_are_shared(tiny):
    code, out, err = finish(*tiny, "machine=cpu", "recipe.epochs=1", "seed=0,1,2")
    assert code == 0, err
    jobs = min(3, cpu.jobs_at_a_time(1))
    assert f"sweep: {jobs} of 3 jobs at a time\n" in out
    records = [json.loads(path.read_text()) for path in folder(tiny).parent.glob("*/result.json")]
    assert {(record["n_jobs"], record["threads"]) for record in records} == {(jobs, max(1, cpu.cores() // jobs))}
    # one job is left: it gets the cores of a single run
    code, out, _ = finish(*tiny, "machine=cpu", "recipe.epochs=1", "seed=2,3")
    assert code == 0
    assert "jobs at a time" not in out
    (last,) = [r for p in folder(tiny).parent.glob("*/result.json") if (r := json.loads(p.read_text())) not in records]
    assert last["n_jobs"] == 1


def test_dry_run_lists_and_ends(tiny):
    attnlab.train(attnlab.config([*tiny, "seed=1"]))
    code, out, _ = finish(*tiny, "seed=0,1,1", "dry_run=true")
    assert code == 0
    assert "dry run: 3 jobs, 1 would run" in out
    states = [line.split()[0] for line in out.splitlines() if "#" in line]
    assert states == ["would", "recorded", "double"]
    code, out, err = finish(*tiny, "attention=se", "attention.place=before,pre", "seed=0,1", "dry_run=true")
    assert (code, out.count("would fail #"), err.count("wrong value attention.place=before;")) == (1, 2, 1)
    code, out, _ = finish(*tiny, "seed=1,1")
    assert "the same run as #0, trained once" in out
    assert len(attnlab.load_results(folder(tiny).parent)) == 1


def test_a_bad_choice_stops_the_sweep_before_it_starts(tiny):
    code, out, err = finish(*tiny, "attention=se,sse")
    assert code == 1
    assert "unknown choice attention=sse; did you mean se? allowed are" in err
    assert "starts" not in out
    code, out, err = finish(*tiny, "seed=0,1", "recipe.validation.images=400")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    code, _, err = finish(*tiny, "seed=0,null")
    assert code == 1
    assert "wrong value seed=null; allowed is an integer from 0" in err
    code, _, err = finish(*tiny, "attention=se,ise", "machine.thread=1")
    assert code == 1
    assert "unknown key machine.thread; did you mean machine.threads? allowed are machine." in err


@pytest.mark.slow
def test_a_killed_job_is_one_failure_and_is_resumed(tiny):
    overrides = [*tiny, "dataset.train_size=2000", "recipe.epochs=4", "n_jobs=1"]
    process = start(*overrides, "seed=0,1")
    first = folder([*overrides, "seed=0"])
    assert wait_for((first / "last.ckpt").exists)
    (job,) = descendants(process.pid)
    os.kill(job, signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "killed by SIGKILL" in err
    assert out.count("finished, test error") == 1
    done = folder([*overrides, "seed=1"]) / "result.json"
    stamp = done.stat().st_mtime_ns
    code, out, _ = finish(*overrides, "seed=0,1")
    assert code == 0
    assert "goes on from last.ckpt" in out
    assert out.count("finished, test error") == 1
    assert done.stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_a_job_that_is_asked_to_stop_is_told_and_the_sweep_fails(tiny):
    """By a cluster, or a person: not half the data and exit 0."""
    overrides = [*tiny, "dataset.train_size=2000", "recipe.epochs=4", "n_jobs=1"]
    process = start(*overrides, "seed=0,1")
    assert wait_for((folder([*overrides, "seed=0"]) / "last.ckpt").exists)
    (job,) = descendants(process.pid)
    os.kill(job, signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert err.count("interrupted; the same command goes on") == 2  # at once, and at the end
    assert "1 failed, 0 not finished" in err
    assert out.count("finished, test error") == 1


def test_a_job_never_goes_on_as_a_second_launcher(tiny):
    """Nobody reads its output any more: one summary, not one from every process."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = start(*tiny, "seed=0,1,2", env=clean)
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.wait(timeout=120)
    assert process.returncode != 0
    assert err.count("not finished; the same command runs them") <= 1
    assert "cannot be written" not in err


def test_an_error_before_the_task_is_told(tiny):
    code, _, err = finish(*tiny, "attention=se", "seed=0,1", "machine.accelerator=gpu", "n_jobs=2")
    assert code == 1
    assert err.count("machine.accelerator=gpu: torch sees no GPU here") == 2  # at once, and at the end


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_jobs_end_with_their_launcher_and_the_sweep_goes_on(tiny, blow):
    overrides = [*tiny, "dataset.train_size=2000", "recipe.epochs=4", "n_jobs=2"]
    process = start(*overrides, "seed=0,1,2")
    assert wait_for((folder([*overrides, "seed=0"]) / "last.ckpt").exists)
    jobs = descendants(process.pid)
    assert len(jobs) == 2
    process.send_signal(blow)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert wait_for(lambda: not any(alive(job) for job in jobs), 30)
    code, out, err = finish(*overrides, "seed=0,1,2")
    assert code == 0, err
    records = [json.loads(p.read_text()) for p in folder(overrides).parent.glob("*/result.json")]
    assert sorted(record["config"]["seed"] for record in records) == [0, 1, 2]
    assert "goes on from last.ckpt" in out


@pytest.mark.slow
def test_two_launchers_on_one_folder_never_train_one_id_twice(tiny):
    overrides = [*tiny, "dataset.train_size=2000", "recipe.epochs=3", "seed=0,1", "n_jobs=1"]
    both = [start(*overrides), start(*overrides)]
    outs = [process.communicate(timeout=300)[0] for process in both]
    starts = sum(out.count(" starts, ") for out in outs)
    finished = sum(out.count("finished, test error") for out in outs)
    assert (starts, finished) == (2, 2)
    assert all(process.returncode in (0, 1) for process in both)


@pytest.mark.slow
def test_the_launcher_does_not_grow(tiny):
    """20 jobs, each of which fails when its network is built: the launcher's resident memory stays."""
    process = start(*tiny, "attention=se", "attention.reduction=64", "seed=range(0,20)", "n_jobs=1")
    sizes = []
    for line in process.stdout:
        if line.startswith("sweep: "):
            sizes.append(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    process.wait(timeout=60)
    assert len(sizes) == 20
    assert sizes[-1] < sizes[0] + 2 * 2**20


def test_settings_of_the_launcher_are_checked(tiny):
    code, _, err = finish(*tiny, "seed=0,1", "n_jobs=0")
    assert code == 1
    assert "n_jobs=0; allowed is an integer from 1" in err


def test_n_jobs_and_dry_run_are_not_science():
    assert run_id(attnlab.config(["n_jobs=4", "dry_run=true"])) == run_id(attnlab.config([]))


def test_a_record_that_cannot_be_believed_fails_its_own_job_only(tiny):
    overrides = [*tiny, "recipe.epochs=1", "attention=none,se,ise"]
    broken, edited = (folder([*tiny, "recipe.epochs=1", f"attention={name}"]) for name in ("none", "se"))
    assert finish(*overrides, "attention=se")[0] == 0
    record = json.loads((edited / "result.json").read_text())
    (edited / "result.json").write_text(json.dumps(record | {"params": 1}))
    broken.mkdir()
    (broken / "result.json").write_text('{"id":')
    code, _, err = finish(*overrides)
    assert code == 1
    assert f"{broken.name}/result.json cannot be read" in err
    assert f"{edited.name}/result.json was changed after it was written (its checksum differs); force=true" in err
    assert (folder([*tiny, "recipe.epochs=1", "attention=ise"]) / "result.json").exists()
    assert finish(*overrides, "force=true")[0] == 0
    assert json.loads((edited / "result.json").read_text())["params"] == record["params"]
