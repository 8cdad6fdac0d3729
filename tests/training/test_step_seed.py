"""Each training step has random numbers of its own, on a machine with and without a GPU the same on the CPU."""

import random

import numpy as np
import pytest
import torch

from attnlab.data.batches import combined
from attnlab.training import checkpointing
from attnlab.training.checkpointing import seed_step


@pytest.fixture(autouse=True)
def _generators_as_before():
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_rng_state(before[0])
    np.random.set_state(before[1])
    random.setstate(before[2])


def draws():
    return torch.rand(4).tolist(), np.random.rand(4).tolist(), [random.random() for _ in range(4)]


@pytest.mark.parametrize("accelerator", [False, True])
def test_the_draws_are_those_of_torchs_manual_seed(monkeypatch, accelerator):
    monkeypatch.setattr(checkpointing, "_has_accelerator", lambda: accelerator)
    number = combined(5, 4, 17, 0)
    torch.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)
    expected = draws()
    seed_step(5, 17, 0)
    assert draws() == expected
    seed_step(5, 17, 1)
    assert draws() != expected


def test_all_devices_are_seeded_where_there_is_another(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch, "manual_seed", seeded.append)
    monkeypatch.setattr(checkpointing, "_has_accelerator", lambda: True)
    seed_step(5, 17, 0)
    assert seeded == [combined(5, 4, 17, 0)]
