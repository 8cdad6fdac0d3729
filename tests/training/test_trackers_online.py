"""tracker=wandb, online: real runs against a stand-in for W&B's server, and against servers that fail."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from wandb_stand_in import StandIn
from warm import warm

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.identity import cell, run_id
from attnlab.records.run_folder import recorded_config

ATTNLAB = [sys.executable, "-m", "attnlab.run"]
#: the same, which waits 2 s only for a server that is lost during a run
IMPATIENT = [
    sys.executable,
    "-c",
    "from attnlab import run; from attnlab.training import wandb_run; wandb_run.FINISH_SECONDS = 2; run.main()",
]
PATIENCE = 400  # seconds, on the busiest machine; W&B alone has no limit


def run(command, server, home, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return warm(command, env=clean | server.environment | {"HOME": str(home)} | environment, timeout=PATIENCE)


def configs(overrides, seeds):
    found = [attnlab.config([*overrides, f"seed={seed}"]) for seed in seeds]
    return [(cfg, run_id(cfg), Path(cfg.output_dir) / run_id(cfg)) for cfg in found]


@pytest.mark.slow
def test_each_job_of_a_sweep_is_its_own_run_and_no_fit_waits_for_the_server(tiny, tmp_path):
    overrides = [*tiny, "attention=se", "machine.precision=32-true", "tracker=wandb"]
    good, bad = "recipe.optimizer.lr=0.02", "recipe.optimizer.lr=1.0e30"
    finished, failed = configs([*overrides, good], (0, 1)), configs([*overrides, bad], (0, 1))
    records = {name: folder / "result.json" for _, name, folder in finished}
    during_a_fit, waited_in_vain = [], []

    def answer(question, run):
        """Answers no post of a run's curves before the run has its record."""
        if question == "file_stream" and run in records and not records[run].exists():
            during_a_fit.append(run)
            deadline = time.monotonic() + 60
            while not records[run].exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            if not records[run].exists():
                waited_in_vain.append(run)
        return 200

    with StandIn(answer) as server:
        done = run([*ATTNLAB, "-m", *overrides, f"{good},1.0e30", "seed=0,1"], server, tmp_path / "home")
    assert done.returncode == 1, done.stderr  # two jobs fail, as they should
    assert "this run is kept offline" not in done.stdout
    assert during_a_fit
    assert not waited_in_vain
    assert server.runs.keys() == {name for _, name, _ in finished + failed}

    for cfg, name, _ in finished + failed:
        bucket = server.runs[name].bucket
        assert bucket["project"] == "attnlab"
        assert bucket["jobType"] == "train"
        assert bucket["displayName"] == f"se resnet8 cluttered_digits seed={cfg.seed}"
        assert bucket["groupName"].endswith(f" {cell(cfg)}")
        assert bucket["tags"] == [
            "dataset=cluttered_digits test_size=100 train_size=400",
            "model=resnet8",
            "attention=se",
        ]
        config = {key: item for key, item in server.runs[name].config.items() if key != "_wandb"}
        names = {
            "dataset": "cluttered_digits",
            "model": "resnet8",
            "attention": "se",
            "head": "linear",
            "recipe": "quick",
        }
        shared = {key: config["machine"][key] for key in ("threads", "workers")}  # null, or a job's share of the cores
        wanted = recorded_config(plain(cfg))
        assert config == wanted | {"machine": wanted["machine"] | shared, "run": name, "names": names}
        assert not [path for path in (tmp_path, Path.home(), sys.prefix) if str(path) in json.dumps(config)]

    for _, name, folder in finished:
        record = json.loads((folder / "result.json").read_text())
        told, metrics = server.runs[name], record["metrics"]
        assert told.exit_code == 0
        validation = [row["val/top1_error"] for row in told.history if "val/top1_error" in row]
        assert len(validation) == 2  # epochs
        assert min(validation) == pytest.approx(metrics["val/top1_error"])
        tested = [row["test/top1_error"] for row in told.history if "test/top1_error" in row]
        assert tested == [pytest.approx(metrics["test/top1_error"])]
        assert told.summary["test/top1_error"] == tested[0]
        nested = told.summary["record"]  # values that panels can show, not one text
        assert nested["metrics"]["val/top1_error"] == pytest.approx(metrics["val/top1_error"])
        assert (nested["id"], nested["params"], nested["macs"]) == (name, record["params"], record["macs"])
        assert "config" not in nested
    assert [server.runs[name].exit_code for _, name, _ in failed] == [1, 1]


@pytest.mark.slow
def test_no_run_fails_or_hangs_with_its_server(tiny, tmp_path):
    overrides = [*tiny, "recipe.epochs=1", "tracker=wandb"]
    jobs = configs(overrides, range(5))

    def answer(question, run):
        """Job 0: status 500; 1: no answer; 2: the run is refused; 3: the server is lost during the run; 4: gone."""
        if question == "otel":
            return 200
        if run:
            server.close()
            return 500
        job = sum(any(folder.glob("wandb/offline-run-*")) for _, _, folder in jobs)
        if job == 1:
            time.sleep(60)
        return 500 if job < 2 else 403 if job == 2 and question != "Viewer" else 200

    with StandIn(answer) as server:
        command = [*IMPATIENT, "-m", *overrides, "seed=0,1,2,3,4", "n_jobs=1"]
        done = run(command, server, tmp_path / "home", WANDB_HTTP_TIMEOUT="3")
    assert done.returncode == 0, done.stderr
    assert all((folder / "result.json").exists() for _, _, folder in jobs)
    offline = [next(folder.glob("wandb/offline-run-*"), None) for _, _, folder in jobs]
    assert [folder is not None for folder in offline] == [True, True, True, False, True]
    told = [line for line in done.stdout.splitlines() if line.startswith("W&B: ")]
    assert len(told) == 5
    for line in (*told[:3], told[4]):
        assert line.startswith("W&B: the server cannot be used (")
        assert line.endswith("); this run is kept offline")
    assert told[3].startswith("W&B: the server did not take the whole run (")

    sync = [Path(sys.executable).parent / "wandb", *told[3].split("`")[1].split()[1:], offline[0]]  # as the line says
    with StandIn() as server:
        assert run(sync, server, tmp_path / "home", WANDB_DIR=str(tmp_path)).returncode == 0
    assert server.runs.keys() == {jobs[0][1], jobs[3][1]}
    assert [(told.exit_code, "test/top1_error" in told.summary) for told in server.runs.values()] == [(0, True)] * 2
    for _, name, folder in (jobs[0], jobs[3]):
        assert json.loads(server.runs[name].summary["record_json"]) == json.loads((folder / "result.json").read_text())
