"""Averaged weights: their formula, that they are validated and tested, what is said of them, and runs that resume."""

from pathlib import Path

import pytest
import torch
from resumed import assert_equal, assert_resumes, checkpoint, config, rows
from torch import nn

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.records.checkpoint import fingerprint
from attnlab.records.source_code import digests
from attnlab.training.averaging import Averaging, averaging_of
from attnlab.training.step_choice import obstacle

EMA = ["recipe.weight_averaging.kind=ema", "recipe.weight_averaging.decay=0.9"]
SWA = ["recipe.weight_averaging.kind=swa", "recipe.weight_averaging.start=1", "recipe.epochs=4"]


def net_weights(content):
    return {name: value for name, value in content["state_dict"].items() if value.is_floating_point()}


def histories(monkeypatch):
    """The weights after each step and the steps at which epochs end, noted while a run trains."""
    steps, original = [], Averaging.on_train_batch_end

    def note(self, trainer, module, *rest):
        steps.append(
            ({n: v.clone() for n, v in module.state_dict().items() if v.is_floating_point()}, trainer.is_last_batch)
        )
        original(self, trainer, module, *rest)

    monkeypatch.setattr(Averaging, "on_train_batch_end", note)
    return steps


def assert_close(found, expected):
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_ema_is_its_formula_and_best_ckpt_holds_it(tmp_path, monkeypatch):
    steps = histories(monkeypatch)
    cfg = config(tmp_path, *EMA)
    attnlab.train(cfg)
    average, at_the_ends = dict(steps[0][0]), []
    for weights, last in steps[1:]:
        average = {name: 0.9 * average[name] + 0.1 * weights[name] for name in average}
        if last:
            at_the_ends.append(average)
    last, best = checkpoint(cfg, "last"), checkpoint(cfg, "best")
    assert_close(net_weights(last), at_the_ends[-1])
    assert_close(net_weights(best), at_the_ends[best["epoch"]])
    assert_close({n: v for n, v in last["current_model_state"].items() if v.is_floating_point()}, steps[-1][0])
    assert not best.keys() & {"current_model_state", "averaging_state", "optimizer_states"}


def test_swa_is_the_mean_of_the_ends_of_epochs(tmp_path, monkeypatch):
    steps = histories(monkeypatch)
    cfg = config(tmp_path, *SWA, "recipe.optimizer.lr=0.001")
    attnlab.train(cfg)
    ends = [weights for weights, last in steps if last][1:]
    assert len(ends) == 3
    mean = {name: sum(each[name] for each in ends) / 3 for name in ends[0]}
    assert_close(net_weights(checkpoint(cfg, "last")), mean)


@pytest.mark.slow
def test_what_is_validated_is_what_is_kept_and_tested(tmp_path, capsys):
    """The validation error of the log is that of best.ckpt, whose weights the test has used."""
    for kind in (EMA, SWA, [*EMA, "recipe.weight_averaging.start=1", "recipe.epochs=3"]):
        cfg = config(tmp_path, *kind)
        record = attnlab.train(cfg)
        folder = Path(cfg.output_dir) / run_id(cfg)
        names, *found = rows(cfg)
        logged = float(found[record["best_epoch"]][names.index("val/top1_error")])
        assert record["metrics"]["val/top1_error"] == pytest.approx(logged, abs=1e-3)
        assert fingerprint(folder / "best.ckpt") == record["weights"]
        assert f"({record['id']}): {record['tested']}" in capsys.readouterr().out


def test_the_net_that_is_loaded_gives_the_tested_error(tmp_path):
    cfg = config(tmp_path, *EMA)
    record = attnlab.train(cfg)
    from attnlab.training.retest import retest

    for split, key in (("val", "val/top1_error"), ("test", "test/top1_error")):
        scores = retest(record["id"], split, plain(cfg), dataset=False, run_root=None)
        assert scores["top1_error"] == pytest.approx(record["metrics"][key], abs=1e-4)


@pytest.mark.parametrize("more", [["recipe.validation.images=0"], ["recipe.steps=8"]])
def test_without_a_last_validation_the_average_is_tested_too(tmp_path, more):
    cfg = config(tmp_path, *EMA, *more)
    record = attnlab.train(cfg)
    assert record["tested"] == "the averaged weights (ema, decay 0.9) are tested"
    if more == ["recipe.validation.images=0"]:
        assert_equal(checkpoint(cfg, "best")["state_dict"], checkpoint(cfg, "last")["state_dict"])


def test_before_it_begins_the_weights_themselves_are_kept(tmp_path, monkeypatch):
    steps = histories(monkeypatch)
    cfg = config(tmp_path, "recipe.weight_averaging.kind=swa", "recipe.weight_averaging.start=1")
    attnlab.train(cfg)
    first_end = next(weights for weights, last in steps if last)
    best = checkpoint(cfg, "best")
    if best["epoch"] == 0:
        assert_close(net_weights(best), first_end)
    assert_close(net_weights(checkpoint(cfg, "last")), steps[-1][0])  # one end alone is its own mean


def test_what_is_said():
    assert Averaging("ema", 0.999, 0).tested(3) == "the averaged weights (ema, decay 0.999) are tested"
    assert Averaging("swa", 0.999, 3).tested(3) == "the averaged weights (swa) are tested"
    assert (
        Averaging("swa", 0.999, 3).tested(2) == "the weights of epoch 2 are tested, from before averaging (swa) began"
    )


def test_defaults_ids_code_and_graphs(tmp_path):
    node = {"kind": "swa", "decay": None, "start": None}
    assert averaging_of({"weight_averaging": node, "epochs": 100, "steps": None}).start == 75
    assert averaging_of({"weight_averaging": node | {"kind": "ema"}, "epochs": 100, "steps": None}).start == 0
    assert averaging_of({"weight_averaging": node | {"kind": None}}) is averaging_of({}) is None
    values = plain(config(tmp_path, *EMA))
    assert run_id(values) != run_id(config(tmp_path))
    assert "training.averaging" in digests(values)
    assert obstacle(values, nn.Flatten()).startswith("recipe.weight_averaging.kind=ema: ")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["decay=0.9"], r"^missing value recipe\.weight_averaging\.kind; recipe\.weight_averaging\.decay needs it;"),
        (
            ["kind=swa", "decay=0.9"],
            r"^wrong value recipe\.weight_averaging\.decay=0\.9; allowed is null with .*kind=swa",
        ),
        (
            ["kind=ema", "decay=1.0"],
            r"^wrong value recipe\.weight_averaging\.decay=1\.0; allowed is a number above 0 and",
        ),
        (["kind=sma"], r"^wrong value recipe\.weight_averaging\.kind=sma; allowed is ema or swa, or null$"),
        (
            ["kind=ema", "start=2"],
            r"^wrong value recipe\.weight_averaging\.start=2; allowed is 0 to 1, before the last",
        ),
    ],
)
def test_what_is_refused(tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, *(f"recipe.weight_averaging.{override}" for override in overrides))


def test_swa_by_steps_needs_its_start(tmp_path):
    with pytest.raises(
        ConfigError, match=r"^missing value recipe\.weight_averaging\.start; recipe\.steps gives no number"
    ):
        config(tmp_path, "recipe.steps=8", "recipe.weight_averaging.kind=swa")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "moments"),  # the last moment is the end of training: what is left is the test
    [
        (EMA, (2, 7, 12)),
        (SWA, (7, 14, 24)),
        ([*EMA, "recipe.steps=8"], (7, 8)),
        ([*EMA, "recipe.validation.images=0"], (12,)),
    ],
)
def test_a_killed_run_goes_on_with_both_kinds_of_weights(tmp_path, monkeypatch, kind, moments):
    assert_resumes(tmp_path, monkeypatch, moments, *kind)
