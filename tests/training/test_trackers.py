"""Trackers, read back from the files they really write."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from warm import warm

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.identity import cell, run_id
from attnlab.errors import ConfigError
from attnlab.records.run_folder import recorded_config
from attnlab.training.tracked_run import tracked_run


def inspect(folder):
    """What W&B's own reader finds in the one offline run below `folder`."""
    (run,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    command = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json"]
    records = subprocess.run([*command, str(run)], capture_output=True, text=True, check=True).stdout
    summary = subprocess.run([*command, "--summary", str(run)], capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in records.splitlines()], json.loads(summary)


def run(*overrides, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return warm([sys.executable, "-m", "attnlab.run", *overrides], env=clean | environment)


@pytest.mark.slow
def test_each_job_of_a_sweep_is_its_own_offline_run(tiny, tmp_path):
    overrides = [*tiny, "attention=se", "tracker=wandb_offline"]
    done = run("-m", *overrides, "seed=0,1", "attention.reduction=16")
    assert done.returncode == 0, done.stderr
    for seed in (0, 1):
        cfg = attnlab.config([*overrides, f"seed={seed}"])
        records, summary = inspect(Path(cfg.output_dir) / run_id(cfg))
        text = json.dumps(records) + json.dumps(summary)
        assert run_id(cfg) in text
        assert cell(cfg) in text  # the group
        assert "attention=se" in text
        assert "dataset=cluttered_digits" in text
        assert "test/top1_error" in text
        assert "val/top1_error" in text
        assert str(tmp_path) not in json.dumps([r for r in records if r.get("type") == "config"])
        assert {"run", "history", "exit"} <= {record.get("type") for record in records}
        assert [record["exit"]["exit_code"] for record in records if record.get("type") == "exit"] == [0]


def test_a_failed_run_is_shown_as_failed(tiny):
    overrides = [*tiny, "recipe.optimizer.lr=1.0e30", "machine.precision=32-true", "tracker=wandb_offline"]
    done = run(*overrides)
    assert done.returncode == 1
    cfg = attnlab.config(overrides)
    records, _ = inspect(Path(cfg.output_dir) / run_id(cfg))
    assert [record["exit"]["exit_code"] for record in records if record.get("type") == "exit"] == [1]


def test_without_a_login_one_line_and_offline(tiny, tmp_path):
    done = run(*tiny, "tracker=wandb", HOME=str(tmp_path), NETRC=str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("W&B: no login found") == 1
    assert "finished" in done.stdout
    cfg = attnlab.config(tiny)
    inspect(Path(cfg.output_dir) / run_id(cfg))


def test_csv_writes_nothing_else(tiny):
    cfg = attnlab.config([*tiny, "tracker=csv"])
    attnlab.train(cfg)
    assert not (Path(cfg.output_dir) / run_id(cfg) / "wandb").exists()
    assert run_id(cfg) == run_id(attnlab.config(tiny))


def test_tensorboard(tiny):
    cfg = attnlab.config([*tiny, "tracker=tensorboard"])
    attnlab.train(cfg)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(Path(cfg.output_dir) / run_id(cfg) / "tensorboard"))
    events.Reload()
    assert {"train/loss", "val/top1_error", "test/top1_error"} <= set(events.Tags()["scalars"])


def test_an_unknown_tracker_is_refused(tiny):
    with pytest.raises(
        ConfigError, match=r"^unknown choice tracker=comet; allowed are csv, wandb, mlflow, tensorboard, wandb_offline$"
    ):
        attnlab.config(["tracker=comet"])
    with pytest.raises(ConfigError, match=r"tracker\.mode=up; allowed are online, offline"):
        attnlab.train(attnlab.config([*tiny, "tracker=wandb", "tracker.mode=up"]))
    with pytest.raises(ConfigError, match=r"tracker\.kind=comet; allowed are csv, tensorboard, wandb, mlflow"):
        attnlab.train(attnlab.config([*tiny, "tracker.kind=comet"]))


def test_the_name_and_group_of_a_run_can_be_set():
    overrides = ["tracker=wandb_offline", "model=resnet8", "attention=se", "attention.reduction=4"]
    cfg = attnlab.config([*overrides, "attention/mask=ignore_05"])
    run = tracked_run(plain(cfg), "0123456789ab", recorded_config(plain(cfg)), Path())
    assert run.name == "se mask=ignore_05 reduction=4 resnet8 cluttered_digits seed=0"
    assert run.group.endswith(f" {cell(cfg)}")
    assert run.config["names"]["attention"] == "se mask=ignore_05"
    assert run.config["attention"]["reduction"] == 4  # the nested keys stay
    cfg = attnlab.config(
        [*overrides, "tracker.name='lr ${recipe.optimizer.lr}'", "tracker.group=mine", "tracker.tags=[a]"]
    )
    run = tracked_run(plain(cfg), "0123456789ab", {}, Path())
    assert (run.name, run.group) == ("lr 0.02", "mine")
    assert run.tags == ["dataset=cluttered_digits", "model=resnet8", "attention=se reduction=4", "a"]
    assert run_id(cfg) == run_id(attnlab.config(overrides))
