"""Records back from W&B equal those on disk: sent by real runs to a stand-in for its server, read by its public API."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from synthetic import record
from wandb_stand_in import ENTITY, StandIn
from warm import warm

import attnlab
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.records import wandb_import
from attnlab.records.record_check import RECORD_KEYS
from attnlab.records.wandb_import import wandb_records
from attnlab.training.trackers import Tracker

#: in a process of its own, whose end is awaited as well
ASK = """
import json, sys
from attnlab import errors
from attnlab.records import wandb_import
path, ids, wandb_import.PAGE, wandb_import.TIMEOUT = json.loads(sys.argv[1])
try:
    print(json.dumps(wandb_import.wandb_records(path, ids)))
except errors.ConfigError as error:
    print(json.dumps(str(error)))
"""
BAD = "recipe.optimizer.lr=1.0e30"


def run(command, home, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    home.mkdir(exist_ok=True)
    return warm(command, env=clean | {"HOME": str(home), "NETRC": str(home / "none")} | environment)


def ask(home, path=f"{ENTITY}/attnlab", ids=None, page=50, timeout=20, **environment):
    """What wandb_records gives, or the message of its ConfigError."""
    done = run([sys.executable, "-c", ASK, json.dumps([path, ids, page, timeout])], home, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    return json.loads(line)


def folders(overrides, seeds):
    found = [attnlab.config([*overrides, f"seed={seed}"]) for seed in seeds]
    return {run_id(cfg): Path(cfg.output_dir) / run_id(cfg) for cfg in found}


def recorded(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_every_finished_run_comes_back_as_its_record(tiny, tmp_path):
    overrides = [*tiny, "attention=se", "recipe.epochs=1", "machine.precision=32-true", "tracker=wandb"]
    good = folders([*overrides, "recipe.optimizer.lr=0.02"], (0, 1))
    (failed,) = folders([*overrides, BAD], (0,))
    home = tmp_path / "home"
    with StandIn() as server:
        train = [sys.executable, "-m", "attnlab.run", "-m", *overrides]
        assert run([*train, "recipe.optimizer.lr=0.02", "seed=0,1"], home, **server.environment).returncode == 0
        assert run([*train, BAD], home, **server.environment).returncode == 1
        assert server.runs.keys() == {*good, failed}
        here = [recorded(good[name]) for name in sorted(good)]

        records, left_out = ask(home, **server.environment)
        assert records == here
        assert [list(record) for record in records] == [list(record) for record in here]
        assert left_out == [f"W&B run {failed}: not finished (failed)"]
        assert ask(home, "attnlab", **server.environment) == [records, left_out]  # the default entity
        one = min(good)
        assert ask(home, ids=[one, "0" * 12], **server.environment) == [[recorded(good[one])], []]

        first = server.runs[one]
        for name, record in {
            "copy": first.summary["record_json"],
            "foreign": None,
            "cut": first.summary["record_json"][:-9],
            "list": "[]",
            "edited": json.dumps(recorded(good[one]) | {"params": 1}),
        }.items():
            server.runs[name].bucket = first.bucket
            server.runs[name].summary = {"loss": float("nan")} | ({"record_json": record} if record else {})
            server.runs[name].exit_code = 0
        server.runs["old"].bucket, server.runs["old"].exit_code = first.bucket, 0
        server.runs["old"].summary = {"record": first.summary["record_json"]}  # as an older attnlab stored it
        server.runs["running"].bucket = first.bucket
        server.runs["elsewhere"].bucket = first.bucket | {"project": "other"}
        server.runs = dict(reversed(server.runs.items()))  # the copy comes before its original
        records, left_out = ask(home, page=2, **server.environment)
        assert records == here
        told = dict(line.removeprefix("W&B run ").split(": ", 1) for line in left_out)
        assert told.pop("list").startswith("is not a record: it lacks checksum, commit, config, data_hash, ")
        assert told.pop("cut").startswith("its record cannot be read (")
        assert told == {
            failed: "not finished (failed)",
            "running": "not finished (running)",
            "foreign": "holds no record: not attnlab's, or ended without one",
            "edited": "was changed after it was written (its checksum differs)",
            "copy": f"holds the record of {one} a second time",
            "old": f"holds the record of {one} a second time",
        }
        assert len(left_out) == 8
        assert ask(home, ids=["copy"], **server.environment) == [
            [],
            [f"W&B run copy: holds the record of another run, {one}"],
        ]


def test_two_records_of_one_run_that_differ_are_named_and_neither_is_used(monkeypatch):
    one, other = record(error=20.0), record(error=30.0)
    there = {one["id"]: one, "copy": other, "same": one}
    runs = [{"id": name, "state": "finished", "text": json.dumps(content)} for name, content in there.items()]
    monkeypatch.setattr(wandb_import, "_runs", lambda path, filters: runs)
    found, left_out = wandb_import.wandb_records("somebody/attnlab")
    assert found == []
    assert left_out[-1].startswith(
        f"W&B run {one['id']} (test/top1_error 20.0) and W&B run copy (test/top1_error 30.0)"
    )
    assert left_out[-1].endswith("neither is used until deleting one on W&B, or source=DIR, chooses")
    monkeypatch.setattr(wandb_import, "_runs", lambda path, filters: [runs[0], runs[2]])
    assert wandb_import.wandb_records("somebody/attnlab")[0] == [one]


def test_an_offline_run_holds_its_record_and_hands_it_over_when_synced(tiny, tmp_path):
    ((name, folder),) = folders(tiny, (0,)).items()
    train = [sys.executable, "-m", "attnlab.run", *tiny, "seed=0", "tracker=wandb_offline"]
    assert run(train, tmp_path / "home").returncode == 0
    here = recorded(folder)
    wandb = str(Path(sys.executable).parent / "wandb")
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    read = run([wandb, "leet", "inspect", "--json", "--summary", str(file)], tmp_path / "home")
    summary = json.loads(read.stdout)["summary"]
    there = json.loads(summary["record_json"])
    assert there.keys() == here.keys() >= RECORD_KEYS
    for key in here:
        assert json.dumps(there[key]) == json.dumps(here[key]), key  # every digit, null and order
    assert summary["test/top1_error"] == pytest.approx(here["metrics"]["test/top1_error"])

    with StandIn() as server:
        sync = run([wandb, "sync", str(file.parent)], tmp_path / "home", **server.environment, WANDB_DIR=str(tmp_path))
        assert sync.returncode == 0, sync.stderr
        assert ask(tmp_path / "home", ids=[name], **server.environment) == [[here], []]


def test_a_trial_is_not_tracked_a_run_hands_over_its_record(tiny, monkeypatch):
    tracked, handed = [], []

    class Spy(Tracker):
        def __init__(self, values, *rest):
            tracked.append(values["tracker"]["kind"])
            super().__init__(values, *rest)

        def finish(self, exit_code, record=None):
            handed.append((exit_code, record))
            super().finish(exit_code, record)

    monkeypatch.setattr("attnlab.training.train.Tracker", Spy)
    offline = [*tiny, "recipe.epochs=1", "tracker=wandb_offline"]
    assert attnlab.train(attnlab.config([*offline, "machine.batches=2"]))["status"] == "trial"
    record = attnlab.train(attnlab.config([*tiny, "recipe.epochs=1"]))
    assert tracked == ["csv", "csv"]
    assert handed[1] == (0, record)


@pytest.mark.slow
def test_a_table_from_wandb_equals_the_one_from_files(tiny, tmp_path):
    home, out = tmp_path / "home", tmp_path / "outputs"
    table = ["table=demo", "attention=none,se", "+table.metrics=[test/top1_error,test/loss]", *tiny, "recipe.epochs=1"]
    with StandIn() as server:
        done = run([sys.executable, "-m", "attnlab.run", *table, "tracker=wandb"], home, **server.environment)
        assert done.returncode == 0, done.stderr
        report = [sys.executable, "-m", "attnlab.report", *table]
        assert run(report, home, **server.environment).returncode == 0
        from_files = (out / "tables" / "demo_part.csv").read_text()
        (out / "tables" / "demo_part.csv").unlink()
        done = run([*report, f"source=wandb:{ENTITY}/attnlab"], home, **server.environment)
        assert done.returncode == 0, done.stderr
        assert (out / "tables" / "demo_part.csv").read_text() == from_files
        assert from_files.count("\n") == 5  # two rows, two metrics, every cell equal


@pytest.mark.parametrize("path", ["", "/", "a/", "/a", "a/b/c", "a b"])
def test_a_path_that_names_no_project_is_refused(path):
    with pytest.raises(ConfigError, match=rf"source=wandb:{path}: must be wandb:ENTITY/PROJECT, or wandb:PROJECT"):
        wandb_records(path)


def test_no_ids_no_question():
    assert wandb_records("somebody/attnlab", []) == ([], [])


def test_without_login_or_project_one_message(tmp_path):
    with StandIn() as server:
        told = ask(tmp_path, WANDB_BASE_URL=server.url)
        assert told.startswith("source=wandb:somebody/attnlab: no login found; `wandb login`, or WANDB_API_KEY")
        told = ask(tmp_path, "somebody/nothing", **server.environment)
        assert told.startswith("source=wandb:somebody/nothing: no such project; is it spelt ENTITY/PROJECT")


@pytest.mark.parametrize("fault", ["refused", "500", "hangs", "lost", "closed"])
def test_a_server_that_fails_is_one_message_in_bounded_time(tmp_path, fault):
    def answer(question, run):
        if fault == "hangs" or (fault == "lost" and question == "Runs"):
            time.sleep(30)
        return {"refused": 403, "500": 500}.get(fault, 200)

    with StandIn(answer) as server:
        if fault == "closed":
            server.close()
        start = time.monotonic()
        told = ask(tmp_path, timeout=2, **server.environment)
        assert time.monotonic() - start < 20  # wandb alone waits 19
    assert told.startswith("source=wandb:somebody/attnlab: W&B's server cannot be read (")
    assert told.endswith("or tabulate without source=")
