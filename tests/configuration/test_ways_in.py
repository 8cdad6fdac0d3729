"""What a config may not name, or a class does not take, is answered with the way in: ATTNLAB_TRUST, +key, ~key."""

import re

import pytest

import attnlab
from attnlab.configuration.targets import construct, target
from attnlab.errors import ConfigError


def test_a_package_that_is_not_trusted_names_the_variable_that_trusts_it(monkeypatch):
    monkeypatch.delenv("ATTNLAB_TRUST", raising=False)
    with pytest.raises(ConfigError, match=r"; if you trust it, set ATTNLAB_TRUST=mylab in the environment$"):
        target({"_target_": "mylab.energy.Energy"}, "attention")
    for path in ("os.system", "Energy"):  # nobody shall be led to trust Python's own modules, or no package
        with pytest.raises(ConfigError, match=r"allowed is a name that begins with attnlab\. .*torchmetrics\.$"):
            target({"_target_": path}, "attention")


@pytest.mark.parametrize(
    ("key", "path", "kind"),
    [
        (
            "recipe.schedule",
            "torch.optim.lr_scheduler.ReduceLROnPlateau",
            r"a function of attnlab\.schedules, or a schedule of torch\.optim\.lr_scheduler that needs no metric",
        ),
        ("dataset", "torchvision.datasets.CIFAR10", r"a dataset of attnlab\.data"),
        ("model", "torch.load", r"a network module, or a function of attnlab\.attention"),
    ],
)
def test_a_thing_of_another_kind_says_who_may_bring_one(key, path, kind):
    message = rf"allowed is {kind}, or of a package that ATTNLAB_TRUST in the environment names$"
    with pytest.raises(ConfigError, match=message):
        target({"_target_": path}, key)


def test_keys_that_a_class_does_not_take_can_be_left_out():
    with pytest.raises(
        ConfigError,
        match=r"^unknown key model\.depth; .*; on the command line ~model\.depth ~model\.width leaves out what",
    ):
        construct({"_target_": "torch.nn.ReLU", "inplace": True, "depth": 3, "width": 2}, "model")


def test_a_section_in_place_of_which_a_word_stands_names_its_target():
    with pytest.raises(ConfigError, match=r"allowed is a group with _target_; recipe\.schedule\._target_=NAME changes"):
        attnlab.config(["recipe.schedule=cosine"])


def test_another_schedule_names_the_keys_to_leave_out_and_to_add(tiny):
    chosen = [*tiny, "recipe.schedule._target_=attnlab.schedules.multistep"]
    without = ["~recipe.schedule.warmup", "~recipe.schedule.final"]
    with pytest.raises(
        ConfigError,
        match=r"^unknown key recipe\.schedule\.warmup; .*line ~recipe\.schedule\.warmup ~recipe\.schedule\.final leave",
    ):
        attnlab.train(attnlab.config(chosen))
    with pytest.raises(
        ConfigError,
        match=r"^missing key recipe\.schedule\.milestones; allowed is what multistep needs: "
        r"\+recipe\.schedule\.milestones=\.\.\. \+recipe\.schedule\.gamma=\.\.\.$",
    ):
        attnlab.train(attnlab.config([*chosen, *without]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attnlab.train(["attention=se"]), "gives: attnlab.config(['attention=se'])"),
        (lambda: attnlab.build("attention=se"), "gives: attnlab.config(['attention=se'])"),
        (lambda: attnlab.train(None), "wrong config None; allowed is what attnlab.config gives: attnlab.config([])"),
        (lambda: attnlab.config("attention=se"), "a text; allowed is a list: attnlab.config(['attention=se'])"),
        (lambda: attnlab.create_attention("se", 64, redction=8), "; on the command line ~attention.redction"),
    ],
)
def test_from_python_a_wrong_argument_names_the_right_one(call, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        call()
