"""Erasing and policies on batches: draws of each image and epoch, whatever its batch, and only where one trains."""

import math

import pytest
import torch
from test_held_out import ready
from test_sources import tree

from attnlab.configuration.compose import config, plain
from attnlab.configuration.identity import run_id
from attnlab.data import erasing
from attnlab.data.augment import DRAWS
from attnlab.data.batch_augment import derived
from attnlab.errors import ConfigError
from attnlab.records.source_code import digests

DIGITS = ["dataset.train_size=60", "dataset.test_size=20", "recipe.validation.images=10", "recipe.batch_size=16"]
BOTH = ["recipe.augment.erasing=0.5", "recipe.augment.policy=trivial"]


def test_derived_numbers_are_uniform_independent_and_a_function_of_each_row(draw):
    draws = torch.rand(20_000, DRAWS, generator=draw(4))
    found = derived(draws, 6)
    assert found.shape == (20_000, 6)
    assert 0 <= float(found.min()) < 0.001 < 0.999 < float(found.max()) < 1
    assert found.mean(dim=0).tolist() == pytest.approx([0.5] * 6, abs=0.01)
    assert found.var(dim=0).tolist() == pytest.approx([1 / 12] * 6, abs=0.002)
    related = torch.corrcoef(torch.cat([found, draws], dim=1).T) - torch.eye(6 + DRAWS)
    assert float(related.abs().max()) < 4 / math.sqrt(20_000)
    assert torch.equal(derived(draws[5:9], 6), found[5:9])
    close = draws[:1].clone()
    close[0, 2] += 2**-20
    assert float((derived(close, 6) - found[:1]).abs().min()) > 1e-4


def test_boxes_have_torchvisions_areas_and_shapes(draw):
    x = torch.ones(4000, 1, 32, 32)
    erased = erasing.erase(x, torch.rand(4000, erasing.DRAWS, generator=draw(5)), 0.75) == 0
    rows, columns = erased.any(dim=3).squeeze(1), erased.any(dim=2).squeeze(1)
    assert torch.equal(erased.squeeze(1), rows.unsqueeze(2) & columns.unsqueeze(1))  # a box each
    has = erased.any(dim=(1, 2, 3))
    assert float(has.float().mean()) == pytest.approx(0.75, abs=0.03)
    tall, wide = rows.sum(1)[has].float(), columns.sum(1)[has].float()
    areas = tall * wide / 32**2
    assert 0.015 < float(areas.min()) < float(areas.max()) < 0.36
    assert float(areas.mean()) == pytest.approx((0.02 + 0.33) / 2, abs=0.01)
    assert float((tall / wide).log().mean()) == pytest.approx(0, abs=0.05)
    assert int(tall.max()) < 32 > int(wide.max())
    middle = (rows.float() * torch.arange(32)).sum(1)[has] / tall
    assert float(middle.mean()) == pytest.approx(15.5, abs=0.5)


def batches(data, split="train"):
    loader = data.train_dataloader() if split == "train" else data.evaluation_dataloader(split)
    return [data.on_after_batch_transfer(batch, 0)[0] for batch in loader]


@pytest.fixture(params=["cluttered_digits", "imagenet"])
def small(request, tmp_path):
    if request.param == "cluttered_digits":
        return DIGITS
    root = tree(tmp_path, each=10, splits=("train", "val"))
    return ["dataset=imagenet", f"dataset.root={root}", "dataset.classes=3", "dataset.image_size=32",
            "machine.workers=0", "recipe.validation.images=6", "recipe.batch_size=8"]  # fmt: skip


@pytest.mark.parametrize("more", [[BOTH[0]], [BOTH[1]], ["recipe.augment.policy=rand"], BOTH])
def test_training_batches_change_and_no_others(small, more):
    usual, other = ready(*small), ready(*small, *more)
    assert any(not torch.equal(a, b) for a, b in zip(batches(usual), batches(other), strict=True))
    for split in ("val", "test"):
        for a, b in zip(batches(usual, split), batches(other, split), strict=True):
            assert torch.equal(a, b)
    for one, again in zip(batches(other), batches(ready(*small, *more)), strict=True):
        assert torch.equal(one, again)


def test_an_images_draws_do_not_depend_on_its_batch():
    wide, narrow = (torch.cat(batches(ready(*DIGITS[:3], f"recipe.batch_size={n}", *BOTH))) for n in (50, 10))
    assert torch.equal(wide, narrow)
    shuffled = torch.cat(batches(ready(*DIGITS, *BOTH, "seed=1")))
    assert not torch.equal(shuffled[: len(wide)], wide[: len(shuffled)])


def test_keys_ids_and_the_code_of_a_record():
    usual = plain(config(DIGITS))
    assert run_id(config([*DIGITS, *BOTH])) != run_id(usual)
    assert "data.batch_augment" in digests(plain(config([*DIGITS, *BOTH])))
    assert "data.batch_augment" not in digests(usual)
    with pytest.raises(
        ConfigError, match=r"^wrong value recipe\.augment\.policy=auto; allowed is trivial or rand, or null"
    ):
        config(["recipe.augment.policy=auto"])
    with pytest.raises(
        ConfigError, match=r"^wrong value recipe\.augment\.erasing=2; allowed is a number above 0, to 1, or"
    ):
        config(["recipe.augment.erasing=2"])
