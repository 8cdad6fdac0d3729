"""The keys that every recipe has, and that are null: an older config lacks them and is the same run."""

import copy

import pytest

from attnlab.configuration.compose import check, config, plain
from attnlab.configuration.groups import choices
from attnlab.configuration.identity import run_id
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError
from attnlab.machine.gpu_rates import training_images
from attnlab.records.recipe_code import modules_of
from attnlab.training.averaging import averaging_of
from attnlab.training.early_stopping import stopping_of
from attnlab.training.step_choice import cycles_momentum

NEW = ("mixup", "cutmix", "weight_averaging", "stochastic_depth", "early_stopping")


def older(values):
    """The config as an attnlab without these keys has saved it."""
    found = copy.deepcopy(dict(values))
    del found["dataset"]["fraction"]
    for name in NEW:
        del found["recipe"][name]
    for name in ("erasing", "policy"):
        del found["recipe"]["augment"][name]
    return found


@pytest.mark.parametrize("recipe", choices("recipe"))
def test_an_older_config_is_the_same_run(recipe):
    values = plain(config([f"recipe={recipe}"]))
    before = older(values)
    assert run_id(check(before)) == run_id(values)
    assert name_of("recipe", before["recipe"], before) == name_of("recipe", values["recipe"], values)
    assert modules_of(before) == modules_of(values) == {}
    assert averaging_of(before["recipe"]) is stopping_of(before["recipe"], "id") is None
    assert not cycles_momentum(before["recipe"]["schedule"])
    assert training_images(before) == training_images(values)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.mixop=0.2", r"^unknown key recipe\.mixop; did you mean recipe\.mixup\? allowed are"),
        (
            "recipe.early_stopping=3",
            r"^wrong value recipe\.early_stopping=3; allowed is a group with patience, min_delta; ",
        ),
        (
            "recipe.weight_averaging=ema",
            r"^wrong value recipe\.weight_averaging=ema; allowed is a group with kind, decay",
        ),
        (
            "recipe.stochastic_depth=1",
            r"^wrong value recipe\.stochastic_depth=1; allowed is a number above 0 and below 1",
        ),
    ],
)
def test_a_wrong_key_or_value_is_one_message(override, message):
    with pytest.raises(ConfigError, match=message):
        config([override])


@pytest.mark.parametrize("key", ["weight_averaging", "early_stopping"])
def test_a_group_that_is_null_is_not_used(key):
    assert run_id(config([f"recipe.{key}=null"])) == run_id(config([]))
