"""An optimizer by its name, and a schedule of torch, replace what the recipe has: no key of the old one stays."""

import sys

import pytest
from omegaconf import OmegaConf
from synthetic import record
from warm import warm

from attnlab.configuration.compose import config, plain
from attnlab.configuration.groups import choices
from attnlab.configuration.identity import run_id
from attnlab.configuration.names import read_choice
from attnlab.configuration.replaced_nodes import replacing, spelled_out, typed
from attnlab.configuration.sweep_arguments import for_hydra, of_jobs
from attnlab.errors import ConfigError
from attnlab.tables.selection import select

RESTARTS = ["recipe.schedule._target_=torch.optim.lr_scheduler.CosineAnnealingWarmRestarts", "recipe.schedule.T_0=10"]


def run(*arguments):
    return warm([sys.executable, "-m", "attnlab.run", *arguments])


def optimizer(*overrides):
    return OmegaConf.to_container(config([*overrides]).recipe.optimizer)


@pytest.mark.parametrize("recipe", ["modern", "quick", "jetley2018"])
@pytest.mark.parametrize("choice", choices("recipe/optimizer"))
def test_an_optimizer_has_the_keys_of_its_file_only(recipe, choice):
    for key in ("recipe.optimizer", "recipe/optimizer"):
        assert optimizer(f"recipe={recipe}", f"{key}={choice}") == read_choice("recipe/optimizer", choice)


def test_its_keys_can_be_set_wherever_they_are_typed():
    expected = {"_target_": "torch.optim.AdamW", "lr": 0.01, "betas": [0.9, 0.95]}
    more = ["recipe.optimizer.lr=0.01", "+recipe.optimizer.betas=[0.9,0.95]"]
    assert optimizer("recipe=modern", "recipe.optimizer=adamw", *more) == expected
    assert optimizer("recipe=modern", *more, "recipe.optimizer=adamw") == expected


def test_it_is_the_science_of_the_same_keys():
    by_name = config(["recipe=modern", "recipe.optimizer=adamw"])
    by_keys = ["recipe.optimizer._target_=torch.optim.AdamW", "recipe.optimizer.lr=0.001"]
    dropped = ["~recipe.optimizer.momentum", "~recipe.optimizer.nesterov"]
    assert run_id(by_name) == run_id(config(["recipe=modern", *by_keys, *dropped]))


def test_a_schedule_of_torch_has_its_own_keys_only():
    found = plain(config(["recipe=modern", *RESTARTS]))["recipe"]["schedule"]
    assert found == {"_target_": "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts", "T_0": 10}
    ours = plain(config(["recipe=modern", "recipe.schedule.final=0.1"]))["recipe"]["schedule"]
    assert ours == {"_target_": "attnlab.schedules.warmup_cosine", "warmup": 0.1, "final": 0.1}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "recipe.optimizer=adamv",
            r"^unknown choice recipe\.optimizer=adamv; did you mean adamw\? allowed are sgd, lion",
        ),
        ("recipe/optimizer=adamv", r"^unknown choice recipe/optimizer=adamv; did you mean adamw\? allowed are"),
        ("recipe.optimizer=3", r"^wrong value recipe\.optimizer=3; allowed is a group with _target_; "),
        ("recipe.optimizer=null", r"^wrong value recipe\.optimizer=null; allowed is a group with _target_; "),
    ],
)
def test_a_name_that_is_none(override, message):
    with pytest.raises(ConfigError, match=message):
        config([override])


def test_what_hydra_is_given_and_what_a_person_reads():
    given = ["attention=se", "recipe.optimizer.lr=0.01", "recipe.optimizer=lion", *RESTARTS, "seed=1"]
    spelled = spelled_out(given)
    assert spelled == [
        "attention=se", "~recipe.optimizer", "+recipe.optimizer={_target_:timm.optim.Lion,lr:0.0001}",
        "++recipe.optimizer.lr=0.01", "~recipe.schedule",
        "+recipe.schedule={_target_:torch.optim.lr_scheduler.CosineAnnealingWarmRestarts}",
        "++recipe.schedule.T_0=10", "seed=1",
    ]  # fmt: skip
    assert spelled_out(spelled) == spelled  # the ranks of a run repeat its command line
    assert sorted(typed(spelled)) == sorted(given)
    assert spelled_out(given[:1]) == typed(given[:1]) == given[:1]


def test_a_sweep_gives_them_to_its_jobs_only():
    given = ["recipe.optimizer=sgd,adamw", "recipe.optimizer.lr=0.1,0.2", "seed=0,1", "recipe.epochs=1"]
    assert replacing(given) == given[:2]
    *kept, hidden = for_hydra(["-m", *given])
    assert kept == ["-m", *given[2:]]
    texts = hidden.removeprefix("hydra.sweeper.arguments=[").removesuffix("]").split("','")
    assert of_jobs([text.strip("'") for text in texts]) == given[:2]


@pytest.mark.parametrize("key", ["recipe.optimizer", "recipe/optimizer"])
def test_a_name_selects_records_too(key):
    records = [record([f"recipe.optimizer={name}"]) for name in ("adamw", "lion")]
    chosen, *_ = select(records, [f"{key}=lion"])
    assert chosen == records[1:]


@pytest.mark.parametrize("key", ["recipe.optimizer", "recipe/optimizer"])
def test_on_the_command_line(tmp_path, key):
    where = f"output_dir={tmp_path}"
    done = run(f"{key}=adamw", "recipe.optimizer.lr=0.01", *RESTARTS, where, "dry_run=true")
    assert done.returncode == 0, done.stderr
    expected = run_id(config(["recipe.optimizer=adamw", "recipe.optimizer.lr=0.01", *RESTARTS]))
    assert done.stdout == f"dry run: {expected} would run\n"
    swept = run("-m", f"{key}=adamw,lion", "recipe.optimizer.lr=0.01,0.02", *RESTARTS, where, "dry_run=true")
    assert swept.returncode == 0, swept.stderr
    for name in ("adamw", "lion"):
        for lr in (0.01, 0.02):
            wanted = run_id(config([f"recipe.optimizer={name}", f"recipe.optimizer.lr={lr}", *RESTARTS]))
            assert wanted in swept.stdout
    assert "dry run: 4 jobs, 4 would run" in swept.stdout
