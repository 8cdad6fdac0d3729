"""Errors by group of class and background, also of a network that relies on the background."""

import pytest
import torch

from attnlab.data.cluttered_digits_images import PHOTOS, TRAIN_PHOTOS, generate, on_training_photos
from attnlab.evaluation.metrics.background import expected_worst, group_errors


def test_groups_by_hand():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    photos = torch.tensor([0, 0, 1, 7, 1, 1, 0, 0])  # 7: no class's own
    wrong = torch.tensor([0, 0, 1, 1, 0, 1, 1, 1], dtype=torch.bool)
    # class 0: own 0/2, other 1/1; class 1: own 1/2, other 2/2
    assert group_errors(wrong, labels, photos) == {"own": 25.0, "other": 100.0, "worst": 100.0}


def test_a_network_that_reads_the_photograph_fails_on_others():
    split = on_training_photos(2000)
    reads = group_errors(split.photos != split.labels, split.labels, split.photos)
    assert reads == {"own": 0.0, "other": 100.0, "worst": 100.0}


def test_the_worst_by_chance_is_above_the_mean():
    split = on_training_photos(2000)
    wrong = torch.rand(2000, generator=torch.Generator().manual_seed(0)) < 0.2
    expected = expected_worst(wrong, split.labels, split.photos)
    found = group_errors(wrong, split.labels, split.photos)
    assert 22 < expected < 40
    assert found["worst"] == pytest.approx(expected, abs=8)
    assert found["own"] == pytest.approx(20, abs=4)


def test_the_images_are_test_digits_on_training_photographs():
    split = on_training_photos(400, seed=0)
    assert {PHOTOS[i] for i in split.photos.tolist()} <= set(TRAIN_PHOTOS)
    assert 0.45 < float((split.photos == split.labels).double().mean()) < 0.65
    assert torch.bincount(split.labels).tolist() == [40] * 10
    plain = generate(100, 400, seed=0)["test"]
    assert not torch.equal(plain.images, split.images)
    assert torch.equal(on_training_photos(400, seed=0).images, split.images)
