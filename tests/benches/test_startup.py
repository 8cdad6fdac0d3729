"""Marks: when a job was launched, when its first step had ended."""

import os

import pytest

from attnlab.benches import startup
from attnlab.benches.setting import Asked
from attnlab.errors import AttnlabError
from attnlab.marks import FILE, mark, read_marks


def test_marks(tmp_path, monkeypatch):
    monkeypatch.delenv(FILE, raising=False)
    mark("nothing")
    monkeypatch.setenv(FILE, str(tmp_path / "marks"))
    mark("launch")
    mark("a step")
    marks = read_marks(tmp_path / "marks")
    assert [(process, what) for _, process, what in marks] == [(os.getpid(), "launch"), (os.getpid(), "a step")]
    assert marks[0][0] <= marks[1][0]


def test_since_launch():
    sweep = [(10.0, 1, "launch"), (12.0, 2, "step"), (13.0, 2, "step"), (14.0, 1, "launch"), (14.5, 3, "step")]
    assert startup.since_launch(sweep, 0.0) == [2.0, 0.5]
    assert startup.since_launch([(7.0, 5, "step"), (8.0, 5, "step")], 3.0) == [4.0]


def test_the_users_overrides_replace_defaults():
    found = startup.overrides(Asked(("model=resnet14", "recipe.steps=2"), ("se",)))
    assert "model=resnet8" not in found
    assert "recipe.steps=1" not in found
    assert found[-3:] == ["attention=se", "model=resnet14", "recipe.steps=2"]


@pytest.mark.slow
def test_a_sweep_marks_each_job(tmp_path):
    runs = startup.overrides(Asked(("dataset.train_size=100", "dataset.test_size=20")))
    seconds = startup.started(["-m", *runs, "seed=0,1"], str(tmp_path))
    assert len(seconds) == 2
    assert all(0 < one < 60 for one in seconds)


def test_a_failed_run_is_told(tmp_path):
    with pytest.raises(AttnlabError, match=r"startup: model=resnet9 ended with 1: attnlab: model=resnet9: unknown"):
        startup.started(["model=resnet9"], str(tmp_path))
