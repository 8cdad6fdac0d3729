"""How the runs of a folder stand, from the files that they leave."""

import json
import os
import subprocess
import sys
import time

import pytest
import synthetic
from omegaconf import OmegaConf

import attnlab
from attnlab.configuration.compose import check
from attnlab.configuration.identity import run_id
from attnlab.errors import TrainingError
from attnlab.records.epoch_rows import COLUMNS
from attnlab.records.run_folder import without_paths, write_error
from attnlab.records.run_state import run_states

HOLD = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); "


def begin(output_dir, *overrides, epochs=1):
    """The folder and config of a run that was killed after some of its four epochs."""
    values = check(attnlab.config(["model=resnet8", "recipe.epochs=4", *overrides]))
    folder = output_dir / run_id(values)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(without_paths(values))))
    rows = [",".join([str(n), *["1.5"] * (len(COLUMNS) - 1)]) for n in range(epochs)]
    (folder / "log.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    (folder / "lock").touch()
    return folder, values


def state(output_dir):
    (found,) = run_states(output_dir)
    return found


def test_a_finished_run(tmp_path):
    made = synthetic.record(["seed=1"], 12.5, finished="2026-03-01T10:00:00+00:00")
    synthetic.write(tmp_path, made)
    found = state(tmp_path)
    assert (found.id, found.text, found.error, found.seconds) == (made["id"], "finished", 12.5, 10.0)
    assert found.config == made["config"]
    assert found.date.isoformat().startswith("2026-0")
    assert found.date.timestamp() == pytest.approx(1772359200)


def test_a_killed_run_was_interrupted_in_the_epoch_after_the_last_complete_one(tmp_path):
    folder, values = begin(tmp_path, epochs=1)
    found = state(tmp_path)
    assert (found.text, found.error, found.seconds, found.epochs) == ("interrupted in epoch 2 of 4", None, 1.5, 1)
    assert found.config["seed"] == values["seed"]
    write_error(folder, folder.name, values, KeyboardInterrupt())
    assert state(tmp_path).text == "interrupted in epoch 2 of 4"


def test_where_steps_decide_no_number_of_epochs_is_known(tmp_path):
    begin(tmp_path, "recipe.steps=100", epochs=2)
    assert state(tmp_path).text == "interrupted in epoch 3"


def test_a_run_that_was_killed_after_its_last_epoch_is_in_its_test(tmp_path):
    begin(tmp_path, epochs=4)
    assert state(tmp_path).text == "interrupted in its test"


def test_a_failed_run_says_why_in_one_line(tmp_path):
    folder, values = begin(tmp_path)
    write_error(folder, folder.name, values, TrainingError("the loss is\nnot finite"))
    found = state(tmp_path)
    assert (found.text, found.reason) == ("failed", "the loss is not finite")


def test_an_error_of_an_earlier_start_does_not_count(tmp_path):
    folder, values = begin(tmp_path)
    write_error(folder, folder.name, values, TrainingError("broken"))
    later = time.time() + 10
    os.utime(folder / "config.yaml", (later, later))
    assert state(tmp_path).text == "interrupted in epoch 2 of 4"


def test_a_run_whose_lock_is_held_is_running_and_keeps_its_lock(tmp_path):
    folder, _ = begin(tmp_path)
    lock = str(folder / "lock")
    owner = subprocess.Popen([sys.executable, "-c", HOLD + "time.sleep(60)", lock], stdout=subprocess.PIPE)
    owner.stdout.readline()
    try:
        assert state(tmp_path).text == "running, epoch 2 of 4"
        second = subprocess.run([sys.executable, "-c", HOLD.replace("LOCK_EX", "LOCK_EX | fcntl.LOCK_NB"), lock])
        assert second.returncode  # still held
    finally:
        owner.kill()
        owner.wait()
    assert state(tmp_path).text == "interrupted in epoch 2 of 4"


def test_a_run_that_is_starting_has_no_name_yet(tmp_path):
    (tmp_path / "0123456789ab").mkdir()
    (tmp_path / "0123456789ab" / "lock").touch()
    assert run_states(tmp_path) == []  # a start that failed before it wrote anything


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "its result.json cannot be read"), ("edited", "its result.json was changed after it was written")],
)
def test_a_damaged_record_is_a_failure(tmp_path, content, reason):
    made = synthetic.record()
    path = synthetic.write(tmp_path, made)
    path.write_text(content if content == "{" else json.dumps(made | {"seconds": 1.0}))
    found = state(tmp_path)
    assert found.text == "failed"
    assert found.reason.startswith(reason)


def test_other_folders_are_no_runs(tmp_path):
    for name in ("tables", "bench", ".sweep", "0123456789ab.20260101T000000-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    assert run_states(tmp_path) == []
    assert run_states(tmp_path / "missing") == []


@pytest.mark.parametrize("text", ["", "[1]", "seed: 0\ndataset: 3", "a: &a 1\nb: *a", "\0"])
def test_a_config_that_cannot_be_read_leaves_the_run_without_a_name(tmp_path, text):
    folder, _ = begin(tmp_path)
    (folder / "config.yaml").write_text(text)
    assert (state(tmp_path).config, state(tmp_path).text) == (None, "interrupted in epoch 2")
