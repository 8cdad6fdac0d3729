"""Runs of a second that are killed after one of their checkpoints and go on, for tests of what a resume must keep."""

from pathlib import Path

import pytest
import torch

import attnlab
from attnlab.configuration.identity import run_id
from attnlab.training import checkpointing

#: 6 steps of 20 images an epoch
SMALL = [
    "model=resnet8", "dataset.train_size=160", "dataset.test_size=50", "recipe.batch_size=20",
    "recipe.validation.images=40", "recipe.epochs=2", "tracker=csv", "machine.threads=1", "machine.accelerator=cpu",
    "machine.precision=32-true", "deterministic=true",
]  # fmt: skip


class Killed(BaseException):
    pass


def config(folder, *overrides):
    return attnlab.config([*SMALL, *overrides, f"output_dir={folder}"])


def checkpoint(cfg, name):
    return torch.load(Path(cfg.output_dir) / run_id(cfg) / f"{name}.ckpt", weights_only=True)


def rows(cfg):
    """log.csv without its times."""
    text = (Path(cfg.output_dir) / run_id(cfg) / "log.csv").read_text()
    return [line.split(",")[:-2] for line in text.split()]


def train_killed(cfg, moment, monkeypatch):
    """Train until that checkpoint is written, and no further."""
    original, count = checkpointing.Last._save, [0]

    def save(self, trainer, batches):
        original(self, trainer, batches)
        count[0] += 1
        if count[0] == moment:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpointing.Last, "_save", save)
        with pytest.raises(Killed):
            attnlab.train(cfg)


def assert_equal(one, other):
    """Tensors, and whatever holds them, are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_equal(one[name], other[name])
    elif isinstance(one, list | tuple):
        for mine, theirs in zip(one, other, strict=True):
            assert_equal(mine, theirs)
    else:
        assert one == other


def assert_resumes(tmp_path, monkeypatch, moments, *overrides):
    """A run killed after each of these checkpoints ends as one that was not: weights, optimizer, log and record."""
    overrides = (*overrides, "machine.checkpoint_minutes=0")
    whole = config(tmp_path / "whole", *overrides)
    expected = attnlab.train(whole)
    for moment in moments:
        cfg = config(tmp_path / str(moment), *overrides)
        train_killed(cfg, moment, monkeypatch)
        record = attnlab.train(cfg)
        assert record["metrics"] == expected["metrics"], moment
        assert record["best_epoch"] == expected["best_epoch"]
        assert rows(cfg) == rows(whole)
        for name, keys in {
            "last": ("state_dict", "optimizer_states", "lr_schedulers"),
            "best": ("state_dict",),
        }.items():
            mine, theirs = checkpoint(cfg, name), checkpoint(whole, name)
            assert_equal({key: mine[key] for key in keys}, {key: theirs[key] for key in keys})
    return expected, whole
