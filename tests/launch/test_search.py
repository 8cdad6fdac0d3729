"""hparams=NAME: trials that Optuna draws, attnlab's records as the memory of the search, and what is printed."""

import json
import re
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from warm import warm

import attnlab
from attnlab.configuration.groups import choices
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.launch.objective import value_of
from attnlab.launch.print_configs import configs
from attnlab.launch.search import SearchSweeper
from attnlab.launch.search_space import read_space

RECORD = {"metrics": {"val/top1_error": 12.5, "test/top1_error": 13}, "params": 100, "macs": None}


def search(*overrides):
    done = warm([sys.executable, "-m", "attnlab.run", "-m", *overrides])
    return done.returncode, done.stdout, done.stderr


def records(tiny):
    folder = Path(tiny[-1].partition("=")[2])
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/result.json")}


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        (None, 12.5), ("val/top1_error", 12.5), ("params", 100.0), ("macs", None),
        (["val/top1_error", "params"], [12.5, 100.0]), (["val/top1_error", "macs"], None),
    ],
)  # fmt: skip
def test_the_value_of_a_record(objective, value):
    assert value_of(RECORD, objective) == value


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective=test/top1_error"], r"^wrong value objective=test/top1_error; allowed is one of val/top1_error, "),
        (["objective=[macs,macs]"], "test images never decide"),
        (["objective=[]"], "wrong value objective="),
        (
            ["recipe.validation.images=0"],
            "recipe.validation.images=0; allowed with objective=val/top1_error is an integer from 1",
        ),
    ],
)
def test_a_search_may_only_look_at_validation_images_and_costs(overrides, message):
    with pytest.raises(ConfigError, match=message):
        attnlab.config(["hparams=lr", *overrides])


def test_an_objective_is_no_science_and_needs_a_search():
    assert run_id(attnlab.config(["hparams=lr"])) == run_id(attnlab.config([]))
    assert run_id(attnlab.config(["hparams=lr", "objective=macs"])) == run_id(attnlab.config([]))
    with pytest.raises(ConfigError, match="unknown key objective"):
        attnlab.config(["objective=macs"])


@pytest.mark.parametrize("name", [name for name in choices("hparams") if name != "none"])
def test_a_shipped_search_composes(name):
    (text,) = configs([f"hparams={name}"], resolve=False)
    assert "objective:" in text
    drawn, _ = configs([f"hparams={name}", "recipe.optimizer.lr=tag(log,interval(0.1,1))"], resolve=False)
    assert drawn == "# without recipe.optimizer.lr, which a search draws\n"


def test_without_the_package_the_message_names_it(tiny, monkeypatch):
    monkeypatch.setattr("attnlab.launch.search.find_spec", lambda name: None)
    settings = OmegaConf.create({"params": {}, "storage": None, "study_name": None, "arguments": []})
    with pytest.raises(
        ConfigError, match=r"missing package optuna, which hparams=NAME needs; install attnlab\[optuna\]"
    ):
        SearchSweeper(**settings, n_trials=1, n_jobs=1, sampler="tpe", seed=0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.sweeper.sampler=tpee", "unknown choice hydra.sweeper.sampler=tpee; did you mean tpe? allowed are"),
        ("hydra.sweeper.n_trials=0", "wrong value hydra.sweeper.n_trials=0; allowed is an integer from 1"),
        ("objective=test/loss", "wrong value objective=test/loss; allowed is one of val/top1_error, "),
        ("table=demo", "hparams=lr with table=demo: the table decides what runs; remove one of the two"),
        ("recipe.optimizer.lr=interval(2,1)", "wrong value recipe.optimizer.lr=interval(2,1): "),
    ],
)
def test_wrong_settings_are_one_message(tiny, override, message):
    code, out, err = search(*tiny, "hparams=lr", override)
    assert code == 1
    assert err.startswith(f"attnlab: {message}")
    assert len(err.strip().splitlines()) == 1
    assert not records(tiny)


def test_the_space_of_a_search():
    params = {
        "a": "tag(log, interval(0.01, 1))",
        "b": "int(interval(1, 8))",
        "c": "null,4,x",
        "d": "range(2, 9, 2)",
    }
    space = read_space(params, ["e=1", "~f", "attention=se,eca"])
    found = {key: str(item) for key, item in space.distributions.items()}
    assert found == {
        "a": "FloatDistribution(high=1.0, log=True, low=0.01, step=None)",
        "b": "IntDistribution(high=8, log=False, low=1, step=1)",
        "c": "CategoricalDistribution(choices=('null', '4', 'x'))",
        "d": "IntDistribution(high=8, log=False, low=2, step=2)",
        "attention": "CategoricalDistribution(choices=('se', 'eca'))",
    }
    assert space.fixed == ["e=1", "~f"]
    assert read_space(params, ["a=0.5"]).fixed == ["a=0.5"]  # the command line fixes a key
    with pytest.raises(ConfigError, match="nothing to search"):
        read_space({}, ["e=1"])


def test_a_search_prints_its_best_trial_and_goes_on_from_its_records(tiny):
    overrides = [*tiny, "recipe.epochs=1", "hparams=lr", "n_jobs=2"]
    code, out, err = search(*overrides, "hydra.sweeper.n_trials=3")
    assert code == 0, err
    assert "search: 3 trials, smallest val/top1_error; only validation images and costs decide, no test image" in out
    assert "search: 2 of 3 trials, 0 failed; smallest val/top1_error " in out
    first = records(tiny)
    assert len(first) == 3
    smallest = min(record["metrics"]["val/top1_error"] for record in first.values())
    line = re.search(r"^best: val/top1_error (\S+): run (\w+), recipe.optimizer.lr=(\S+) (\S+)$", out, re.MULTILINE)
    best = first[line[2]]  # trials may share the smallest error
    assert float(line[1]) == pytest.approx(smallest, rel=1e-5)
    assert best["metrics"]["val/top1_error"] == smallest
    assert float(line[3]) == best["config"]["recipe"]["optimizer"]["lr"]
    assert all(0.01 <= record["config"]["recipe"]["optimizer"]["lr"] <= 1 for record in first.values())

    code, out, err = search(*overrides, "hydra.sweeper.n_trials=4")
    assert code == 0, err
    assert out.count("found recorded") == 3
    assert len(records(tiny)) == 4
    assert first.items() <= records(tiny).items()


def test_a_failed_trial_counts_as_failed_and_several_objectives_give_their_front(tiny):
    model = ["model=resnet20", "recipe.epochs=1", "n_jobs=4", "hparams=error_and_cost", "hydra.sweeper.n_trials=4"]
    space = ["model.depth=choice(8,14)", "attention.reduction=choice(4,64)"]
    code, out, err = search(*tiny, *model, *space)
    assert code == 0, err
    kept = records(tiny)
    failed = int(re.search(r"search: 4 of 4 trials, (\d) failed", out)[1])
    assert 0 < failed < 4
    assert "attention.reduction=64; allowed is" in err
    points = {(r["metrics"]["val/top1_error"], r["macs"]): r["id"] for r in kept.values()}
    front = {
        run for (e, m), run in points.items() if not any(a <= e and b <= m and (a, b) != (e, m) for a, b in points)
    }
    assert f"Pareto front of val/top1_error and macs: {len(front)} run{'s' * (len(front) > 1)}\n" in out
    assert sorted(re.findall(r"^  val/top1_error \S+, macs [\d,]+: run (\w+), ", out, re.MULTILINE)) == sorted(front)


def test_a_search_in_which_nothing_finishes_fails(tiny):
    model = ["hparams=error_and_cost", "hydra.sweeper.n_trials=2", "model.depth=8", "attention.reduction=choice(64,99)"]
    code, out, err = search(*tiny, *model)
    assert code == 1
    assert "attnlab: none of the search's 2 trials finished" in err
    assert "best" not in out


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_a_dry_run_shows_the_first_trials(tiny, sampler):
    code, out, err = search(*tiny, "hparams=lr", "dry_run=true", "n_jobs=2", f"hydra.sweeper.sampler={sampler}")
    assert (code, err) == (0, "")
    assert out.count("would run") == 3  # two trials and their sum
    assert "dry run: the first 2 of 20 trials; their values decide on the others" in out
    assert not records(tiny)


@pytest.mark.slow
def test_a_search_on_another_launcher(tiny):
    code, out, err = search(*tiny, "hparams=lr", "hydra.sweeper.n_trials=2", "hydra/launcher=basic")
    assert code == 0, err
    assert len(records(tiny)) == 2
    assert re.search(r"^best: val/top1_error \S+: run ", out, re.MULTILINE)
    code, out, err = search(*tiny, "hparams=lr", "hydra.sweeper.n_trials=2")
    assert (code, out.count("found recorded")) == (0, 2), err


@pytest.mark.slow
def test_records_of_other_code_end_a_search(tiny):
    overrides = [*tiny, "recipe.epochs=1", "hparams=lr", "hydra.sweeper.n_trials=1"]
    assert search(*overrides)[0] == 0
    (record,) = records(tiny).values()
    from attnlab.records.record import seal

    other = seal({key: item for key, item in record.items() if key != "checksum"} | {"code": {"head": {"x.py": "0"}}})
    (Path(tiny[-1].partition("=")[2]) / record["id"] / "result.json").write_text(json.dumps(other))
    code, out, err = search(*overrides)
    assert code == 1
    assert "code=recorded" in err
    assert "none of the search's" not in err
    assert search(*overrides, "code=recorded")[0] == 0
