"""What a search leaves and says, on a launcher that trains nothing: its file, its failures, the names of its trials."""

import csv
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

import attnlab
from attnlab.configuration.compose import check
from attnlab.configuration.run_name import trial_name
from attnlab.launch import search
from attnlab.launch.job import Job

SPACE = {"attention.reduction": "choice(4, 64)"}


class Launcher:
    """Every run with reduction=64 fails; the others have the error 12.5."""

    def __init__(self, bad="attention.reduction=64"):
        self.bad, self.jobs, self.refused, self.failed = bad, [], False, False

    def launch(self, jobs, initial_job_idx):
        returned = []
        for number, overrides in enumerate(jobs, initial_job_idx):
            config = OmegaConf.create({"overrides": overrides})
            fails = any(override.startswith(self.bad) for override in overrides)
            state, reason = ("failed", "too large") if fails else ("done", "")
            self.jobs.append(Job(number, overrides, config, overrides[0], state=state, reason=reason))
            returned.append(SimpleNamespace(return_value=None if fails else 12.5, cfg=overrides[0]))
        return returned


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A function that runs a search; it returns the rows of its file."""
    monkeypatch.setattr(search, "run_of", lambda one: one.cfg)

    def run(*overrides, launcher, n_trials=6, params=SPACE):
        sweeper = search.SearchSweeper(params, n_trials, 1, "random", 0, None, None, [])
        sweeper.composed = attnlab.config(["attention=se", f"output_dir={tmp_path}", *overrides])
        OmegaConf.set_struct(sweeper.composed, False)
        sweeper.composed.hydra = {"runtime": {"choices": {"hparams": "lr"}}}
        sweeper.objectives, sweeper.launcher = ["val/top1_error"], launcher
        sweeper.sweep([])
        (file,) = [path for path in (tmp_path / "tables").glob("*.csv") if path not in seen]
        seen.append(file)
        return list(csv.DictReader(file.open()))

    seen = []
    return run


def test_the_file_and_the_end_say_why_trials_failed_and_a_failed_point_is_not_run_again(run, capsys):
    launcher = Launcher()
    rows = run(launcher=launcher)
    assert list(rows[0]) == ["number", "state", "val/top1_error", "attention.reduction", "run", "reason"]
    assert [row["attention.reduction"] for row in rows].count("64") == 1
    assert {(row["state"], row["val/top1_error"], row["reason"]) for row in rows} == {
        ("failed", "", "too large"), ("finished", "12.5", ""),
    }  # fmt: skip
    assert len(rows) == len(launcher.jobs) == 6
    printed = capsys.readouterr()
    assert "attnlab: 1 of 6 trials failed; the same command tries them again\n  #" in printed.err
    assert printed.err.endswith(": too large\n")
    assert "best: val/top1_error 12.5: run attention.reduction=4, " in printed.out


def test_another_search_has_another_file_and_more_trials_have_the_same(run, tmp_path, capsys):
    for overrides in ([], ["seed=5"], ["recipe.epochs=4"]):
        run(*overrides, launcher=Launcher())
    run(launcher=Launcher(), params=SPACE | {"recipe.optimizer.lr": "interval(0.1,1)"})
    with pytest.raises(ValueError, match="not enough values"):  # no new file
        run(launcher=Launcher(), n_trials=7)
    assert len(list((tmp_path / "tables").glob("search_lr_*.csv"))) == 4


def test_a_search_in_which_every_trial_fails_leaves_its_file_too(run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(launcher=Launcher(bad="attention"))
    (file,) = (tmp_path / "tables").glob("*.csv")
    assert [row["reason"] for row in csv.DictReader(file.open())] == ["too large"] * 6
    assert "none of the search's 6 trials finished" in capsys.readouterr().err


def test_the_name_of_a_trial():
    overrides = ["attention=se", "attention.reduction=8", "recipe.optimizer.lr=0.12520653814999466", "seed=3"]
    values = check(attnlab.config(overrides))
    searched = ["attention.reduction", "recipe.optimizer.lr"]
    assert trial_name(values, overrides, searched) == (
        "se reduction=8 resnet20 cluttered_digits seed=3 recipe.optimizer.lr=0.1252"
    )
