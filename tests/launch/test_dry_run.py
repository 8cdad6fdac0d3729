"""dry_run=true builds the nets and looks for the images; a sweep prints a message that several jobs have once."""

import pytest
import torch

import attnlab
from attnlab.configuration.compose import check
from attnlab.configuration.held_out import check_held_out
from attnlab.errors import ConfigError
from attnlab.launch import dry_run
from attnlab.launch.dry_run import DryRun, note
from attnlab.launch.job import Job, reasons_of


def config(*overrides):
    return check(attnlab.config(list(overrides)))


def test_a_net_that_cannot_be_built_is_a_fault_and_each_net_is_built_once(monkeypatch):
    built = []
    build = dry_run._fault_of_building
    monkeypatch.setattr(dry_run, "_fault_of_building", lambda values: built.append(values) or build(values))
    check = DryRun()
    for seed in (0, 1):
        assert check.fault(config("attention=se", f"seed={seed}")) == ""
        fault = check.fault(config("attention=se", "attention.place=before", f"seed={seed}"))
        assert fault.startswith("wrong value attention.place=before; ResNet has no such place; it has pre, ")
    assert len(built) == 2


def test_a_net_that_needs_numbers_to_be_built_is_no_fault(monkeypatch):
    monkeypatch.setattr("attnlab.models.network.build", lambda values: torch.ones(2).sum().item())
    assert DryRun().fault(config()) == ""


def test_images_that_are_missing(tmp_path):
    images = ["dataset=imagenet", "model=timm", "model.name=resnet18", f"dataset.root={tmp_path}"]
    assert DryRun().fault(config(*images)).startswith(f"no folder train/ in dataset.root={tmp_path}; allowed is ")
    cifar = config("dataset=cifar10", f"dataset.root={tmp_path / 'cifar'}")
    assert note(cifar) == f"; downloads its images into dataset.root={tmp_path / 'cifar'}, which is missing"
    (tmp_path / "cifar" / "cifar-10-batches-py").mkdir(parents=True)
    assert note(cifar) == note(config()) == ""


@pytest.mark.parametrize(
    ("overrides", "most"),
    [
        (["dataset.train_size=400", "recipe.validation.images=2000"], 390),
        (["dataset=cifar10", "recipe.validation.images=50000"], 49990),
    ],
)
def test_validation_images_are_checked_before_the_images_are_read(overrides, most):
    with pytest.raises(
        ConfigError, match=rf"^wrong value recipe\.validation\.images=\d+; allowed is 0 to {most}, or a"
    ):
        check_held_out(config(*overrides))
    check_held_out(config(*overrides[:-1], f"recipe.validation.images={most}"))


def test_a_message_that_several_jobs_have_is_printed_once():
    jobs = [Job(number, [], None, f"{number:012}", differs=[f"seed={number}"], reason="wrong") for number in range(10)]
    jobs[1].reason = "killed"
    assert reasons_of(jobs) == [
        "  9 jobs (#0, #2, #3, #4, #5, #6, #7, #8, and 1 more): wrong",
        "  #1 000000000001 seed=1: killed",
    ]
