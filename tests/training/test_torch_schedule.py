"""Schedules of torch: learning rates are torch's own, by the epoch or the step, and a resume goes on in them."""

import pytest
import torch
from resumed import assert_resumes, checkpoint, config, rows
from torch.optim import lr_scheduler

import attnlab
from attnlab.configuration.compose import plain
from attnlab.errors import ConfigError
from attnlab.records.source_code import digests
from attnlab.training.step_choice import obstacle
from attnlab.training.torch_schedule import EveryFew

RESTARTS = ["recipe.schedule._target_=torch.optim.lr_scheduler.CosineAnnealingWarmRestarts", "recipe.schedule.T_0=2"]
STEPS = 6  # an epoch


def of_torch(make, epochs):
    """The learning rate in each epoch, from torch's scheduler by itself."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
    scheduler, found = make(optimizer), []
    for _ in range(epochs):
        optimizer.step()
        scheduler.step()
        found.append(f"{optimizer.param_groups[0]['lr']:.6g}")
    return found


def logged(cfg):
    """The learning rate at the end of each epoch, which is that of the next one."""
    names, *found = rows(cfg)
    return [row[names.index("lr")] for row in found]


def test_warm_restarts_are_torchs(tmp_path):
    cfg = config(tmp_path, *RESTARTS, "recipe.epochs=5", "recipe.optimizer.lr=0.02")
    attnlab.train(cfg)
    assert logged(cfg) == of_torch(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=2), 5)
    assert len(set(logged(cfg))) == 2


def test_a_step_is_an_epoch_unless_the_unit_says_otherwise(tmp_path):
    by_steps = ["recipe.schedule._target_=torch.optim.lr_scheduler.ExponentialLR", "recipe.schedule.gamma=0.9"]
    cfg = config(tmp_path, *by_steps, "recipe.schedule.unit=steps", "recipe.optimizer.lr=0.02")
    attnlab.train(cfg)
    assert logged(cfg) == [f"{0.02 * 0.9 ** (STEPS * epochs):.6g}" for epochs in (1, 2)]
    cfg = config(tmp_path, *by_steps, "recipe.optimizer.lr=0.02")
    attnlab.train(cfg)
    assert logged(cfg) == [f"{0.02 * 0.9**epochs:.6g}" for epochs in (1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "schedule",
    [
        RESTARTS,
        ["recipe.schedule._target_=torch.optim.lr_scheduler.MultiStepLR", "recipe.schedule.milestones=[1]"],
        [
            "recipe.schedule._target_=torch.optim.lr_scheduler.OneCycleLR", "recipe.schedule.max_lr=0.05",
            "recipe.schedule.total_steps=12", "recipe.schedule.unit=steps",
        ],
    ],
)  # fmt: skip
def test_a_killed_run_goes_on_in_the_schedule(tmp_path, monkeypatch, schedule):
    assert_resumes(tmp_path, monkeypatch, (3, 6, 8), *schedule)


def test_chunks_of_steps_follow_it_too(tmp_path):
    found = []
    for graph in ("false", "true"):
        cfg = config(tmp_path / graph, *RESTARTS, f"machine.graph={graph}", "machine.checkpoint_minutes=null")
        attnlab.train(cfg)
        found.append((logged(cfg), checkpoint(cfg, "last")["lr_schedulers"]))
    assert found[0] == found[1]


def test_every_few_steps_the_inner_schedule_takes_one():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = EveryFew(lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5), 3)
    rates = []
    for _ in range(7):
        optimizer.step()
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert schedule.state_dict()["calls"] == 7


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["recipe.schedule.T_1=3"],
            r"^unknown key recipe\.schedule\.T_1; did you mean recipe\.schedule\.T_0\? allowed",
        ),
        (
            ["recipe.schedule.T_0=0"],
            r"^recipe\.schedule \(torch\.optim\.lr_scheduler\.CosineAnnealingWarmRestarts\): Expec",
        ),
        (["recipe.schedule.unit=batches"], r"^wrong value recipe\.schedule\.unit=batches; allowed is epochs or steps$"),
        (
            ["recipe.schedule._target_=torch.optim.lr_scheduler.ReduceLROnPlateau"],
            r"^wrong value recipe\.schedule\._target_=torch\.optim\.lr_scheduler\.ReduceLROnPlateau; allowed is a "
            r"function of attnlab\.schedules, or a schedule of torch\.optim\.lr_scheduler that needs no metric, or of ",
        ),
        (["recipe.schedule._target_=torch.load"], r"^wrong value recipe\.schedule\._target_=torch\.load; allowed is"),
    ],
)
def test_what_is_refused_leaves_no_folder(tmp_path, overrides, message):
    given = [o for o in RESTARTS if o.split("=")[0] not in {p.split("=")[0] for p in overrides}]
    given = overrides if any("_target_" in o for o in overrides) else [*given, *overrides]
    with pytest.raises(ConfigError, match=message):
        attnlab.train(config(tmp_path / "outputs", *given))
    assert not list((tmp_path / "outputs").glob("*/*"))


def test_a_schedule_that_changes_the_momentum_runs_step_by_step(tmp_path):
    one_cycle = ["recipe.schedule._target_=torch.optim.lr_scheduler.OneCycleLR", "recipe.schedule.max_lr=0.05"]
    net = torch.nn.Linear(1, 1)
    named = "recipe.schedule._target_=torch.optim.lr_scheduler.OneCycleLR: it changes the momentum"
    assert obstacle(plain(config(tmp_path, *one_cycle)), net) == named
    assert obstacle(plain(config(tmp_path, *one_cycle, "recipe.schedule.cycle_momentum=false")), net) is None
    assert obstacle(plain(config(tmp_path, *RESTARTS)), net) is None


def test_the_code_of_a_record_names_it(tmp_path):
    assert "training.torch_schedule" in digests(plain(config(tmp_path, *RESTARTS)))
    assert "training.torch_schedule" not in digests(plain(config(tmp_path)))
