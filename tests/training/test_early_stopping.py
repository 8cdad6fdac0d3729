"""Early stopping: when training ends, what is said, and that a resume neither forgets nor repeats it."""

import pytest
from resumed import Killed, assert_resumes, config, rows

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.records.source_code import digests
from attnlab.training import train as train_module

#: with so large a least difference, no epoch after the first counts as better
STOPS = ["recipe.early_stopping.patience=2", "recipe.early_stopping.min_delta=100", "recipe.epochs=8"]


def epochs(cfg):
    return len(rows(cfg)) - 1


@pytest.mark.parametrize("graph", ["false", "true"])
def test_a_run_ends_when_its_patience_does(tmp_path, capsys, graph):
    cfg = config(tmp_path, *STOPS, f"machine.graph={graph}")
    record = attnlab.train(cfg)
    assert epochs(cfg) == 3
    assert record["best_epoch"] < 3
    assert f"({record['id']}): stops after epoch 3: no validation error below " in capsys.readouterr().out


def test_a_run_that_still_gets_better_does_not_end(tmp_path):
    cfg = config(tmp_path, "recipe.early_stopping.patience=3", "recipe.epochs=3")
    attnlab.train(cfg)
    assert epochs(cfg) == 3


@pytest.mark.slow
def test_it_is_the_start_of_the_longer_run(tmp_path):
    """Nothing else changes: the epochs that are trained are those of a run without it."""
    stopped, usual = config(tmp_path, *STOPS), config(tmp_path, STOPS[-1])
    attnlab.train(stopped)
    attnlab.train(usual)
    assert rows(usual)[:4] == rows(stopped)


@pytest.mark.slow
def test_a_run_that_was_killed_between_its_stop_and_its_test_is_only_tested(tmp_path, monkeypatch):
    cfg = config(tmp_path / "killed", *STOPS)

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "choose_checkpoint", killed)
        with pytest.raises(Killed):
            attnlab.train(cfg)
    record = attnlab.train(cfg)
    assert epochs(cfg) == 3
    whole = config(tmp_path / "whole", *STOPS)
    assert record["metrics"] == attnlab.train(whole)["metrics"]
    assert rows(cfg) == rows(whole)


@pytest.mark.slow
def test_a_killed_run_keeps_its_count(tmp_path, monkeypatch):
    _, whole = assert_resumes(tmp_path, monkeypatch, (6, 9, 13), *STOPS)
    assert epochs(whole) == 3


def test_keys_ids_and_the_code_of_a_record(tmp_path):
    values = plain(config(tmp_path, *STOPS))
    assert run_id(values) != run_id(config(tmp_path, STOPS[-1]))
    assert "training.early_stopping" in digests(values)
    assert "training.early_stopping" not in digests(plain(config(tmp_path)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["recipe.early_stopping.patience=2", "recipe.validation.images=0"],
            r"^wrong value recipe\.early_stopping\.patience=2; allowed is null, since recipe\.validation",
        ),
        (["recipe.early_stopping.min_delta=1"], r"^missing value recipe\.early_stopping\.patience; "),
        (
            ["recipe.early_stopping.patience=0"],
            r"^wrong value recipe\.early_stopping\.patience=0; allowed is an integer",
        ),
        (["+recipe.early_stopping.patients=3"], r"^unknown key recipe\.early_stopping\.patients; did you mean"),
    ],
)
def test_what_is_refused(tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, *overrides)
