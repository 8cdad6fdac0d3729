"""What the tests of faults share: how long they are, a run's command, and whether two runs are equal to the bit."""

import os
import sys
from pathlib import Path

import torch
import warm

import attnlab
from attnlab.configuration.identity import run_id

#: `make soak` sets it: the long form of every test here
SOAK = bool(os.environ.get("ATTNLAB_SOAK"))
SMALL = [
    "model=resnet8", "dataset.train_size=400", "dataset.test_size=100", "recipe.batch_size=50",
    "recipe.validation.images=100", "recipe.epochs=2", "tracker=csv", "machine.threads=1", "machine.accelerator=cpu",
    "deterministic=true",
]  # fmt: skip


def folder_of(overrides):
    cfg = attnlab.config(overrides)
    return Path(cfg.output_dir) / run_id(cfg)


def start(*overrides):
    """A command, in a process group of its own, with Ctrl-C as a terminal gives it."""
    return warm.start([sys.executable, "-m", "attnlab.run", *overrides])


def finish(*overrides, seconds=300):
    """(exit status, stdout, stderr) of a command."""
    done = warm.warm([sys.executable, "-m", "attnlab.run", *overrides], timeout=seconds)
    return done.returncode, done.stdout, done.stderr


def weights(folder):
    """Every tensor of both checkpoints."""
    files = {name: torch.load(folder / name, weights_only=True)["state_dict"] for name in ("best.ckpt", "last.ckpt")}
    return {f"{file} {name}": tensor for file, state in files.items() for name, tensor in state.items()}


def equal(one, other):
    """Whether two {name: tensor} are equal to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def curves(folder):
    """log.csv without its times."""
    return [line.split(",")[:-2] for line in (folder / "log.csv").read_text().split()]


def half_written(folder):
    """What an interrupted write has left, below a folder."""
    return [path.name for path in folder.rglob("*.part")]
