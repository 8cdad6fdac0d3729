"""The lines and the bar of a run begin with its name; its id gives way where the terminal is narrow."""

import re
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import RichProgressBar

import attnlab
from attnlab.training.progress_bar import Bar


def test_the_bar_names_the_run_and_counts_epochs_from_1():
    assert callable(vars(RichProgressBar)["_get_train_description"])  # Lightning still asks it
    bar = Bar(SimpleNamespace(running_rate=0.0), "se resnet20 seed=0")
    bar._trainer = SimpleNamespace(max_epochs=20)
    assert bar._get_train_description(0) == "se resnet20 seed=0 epoch 1/20"
    bar._trainer = SimpleNamespace(max_epochs=-1)  # recipe.steps decides
    assert bar._get_train_description(4) == "se resnet20 seed=0 epoch 5"


@pytest.mark.parametrize(
    ("columns", "title"),
    [
        (None, r"se resnet8 cluttered_digits seed=0 \([0-9a-f]{12}\)"),
        ("160", r"se resnet8 cluttered_digits seed=0 \([0-9a-f]{12}\)"),
        ("110", r"se resnet8 cluttered_digits seed=0"),
        ("80", r"se seed=0"),
    ],
)
def test_every_line_of_a_run_names_it(tiny, capsys, monkeypatch, columns, title):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    attnlab.train(attnlab.config([*tiny, "attention=se", "recipe.steps=2"]))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert all(re.match(rf" *{title}(:| epoch )", line) for line in lines), lines
    (epoch,) = [line for line in lines if " epoch " in line]
    assert len(epoch) <= int(columns or 1000)


def test_a_name_can_be_given(tiny, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    attnlab.train(attnlab.config([*tiny, "recipe.steps=1"]), name="lr=0.1")
    assert all(line.strip().startswith("lr=0.1") for line in capsys.readouterr().out.splitlines())
