"""A share of the training images is held out, and a fraction of the others is trained on."""

import pytest
import torch
from test_held_out import marks, ready, small_cifar
from test_sources import tree

from attnlab.configuration.compose import config, plain
from attnlab.configuration.identity import run_id
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError
from attnlab.machine.gpu_rates import training_images
from attnlab.models.warm_start import _leak
from attnlab.records.source_code import digests

DIGITS = ["dataset.train_size=200", "dataset.test_size=20"]


@pytest.fixture(params=["cluttered_digits", "cifar10", "folder", "imagenet"])
def small(request, tmp_path, monkeypatch):
    """Overrides of a small dataset of each kind: in memory and read picture by picture."""
    if request.param == "cluttered_digits":
        return DIGITS
    if request.param == "cifar10":
        return small_cifar(tmp_path, monkeypatch)
    splits = ("train", "test") if request.param == "folder" else ("train", "val")
    root = tree(tmp_path, each=20, splits=splits)
    size = ["dataset.classes=3", "dataset.image_size=32", "machine.workers=0"] if request.param == "imagenet" else []
    return [f"dataset={request.param}", f"dataset.root={root}", *size]


def test_a_share_is_that_number_of_images(small):
    everything = ready(*small, "recipe.validation.images=0")
    count = len(everything.train)
    by_share = ready(*small, "recipe.validation.images=0.1")
    by_number = ready(*small, f"recipe.validation.images={round(0.1 * count)}")
    assert len(by_share.val) == round(0.1 * count) > 0
    assert marks(by_share.val) == marks(by_number.val)
    assert marks(by_share.train) == marks(by_number.train)


def test_a_fraction_trains_on_a_stratified_part_and_changes_nothing_else(small):
    held = "recipe.validation.images=0.1"
    full, half = ready(*small, held), ready(*small, held, "dataset.fraction=0.5")
    assert len(half.train) == round(0.5 * len(full.train))
    assert marks(half.train) < marks(full.train)
    assert marks(half.val) == marks(full.val)
    assert marks(half.test) == marks(full.test)
    assert half.data_hash == full.data_hash
    counts, before = torch.bincount(half.labels("train")), torch.bincount(full.labels("train"))
    assert bool(((counts - 0.5 * before).abs() <= 1).all())


def test_a_smaller_fraction_is_part_of_a_larger_one_and_follows_the_datasets_seed():
    fifth, half = (ready(*DIGITS, "recipe.validation.images=0", f"dataset.fraction={f}") for f in (0.2, 0.5))
    assert marks(fifth.train) < marks(half.train)
    again = ready(*DIGITS, "recipe.validation.images=0", "dataset.fraction=0.2", "seed=7")
    assert marks(again.train) == marks(fifth.train)


def test_statistics_are_those_of_the_part():
    part = ready(*DIGITS, "recipe.validation.images=0", "dataset.fraction=0.2")
    means = part.train.images.float().mean(dim=(0, 2, 3)) / 255
    torch.testing.assert_close(part.preprocess.mean.flatten(), means, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["recipe.validation.images=195"],
            r"^wrong value recipe\.validation\.images=195; allowed is 0 to 190, or a share",
        ),
        (
            ["recipe.validation.images=0.99"],
            r"^wrong value recipe\.validation\.images=0\.99; allowed is 0 to 190, or a",
        ),
        (
            ["recipe.validation.images=0.001"],
            r"=0\.001; allowed is a share of at least one image; the training set has 200",
        ),
        (
            ["recipe.validation.images=0", "dataset.fraction=0.03"],
            r"^wrong value dataset\.fraction=0\.03; allowed is a larger part: 4 of 10 classes would have no image",
        ),
    ],
)
def test_what_the_images_do_not_allow(overrides, message):
    with pytest.raises(ConfigError, match=message):
        ready(*DIGITS, *overrides)


@pytest.mark.parametrize("value", ["1.5", "1.0", "-0.1", "true"])
def test_what_no_images_allow(value):
    with pytest.raises(
        ConfigError, match=r"allowed is an integer from 0 \(0: train on all images\), or a share above 0"
    ):
        config([f"recipe.validation.images={value}"])
    with pytest.raises(
        ConfigError, match=r"^wrong value dataset\.fraction=.*; allowed is a number above 0 and below 1, or"
    ):
        config([f"dataset.fraction={value}"])


def test_ids_names_and_the_code_of_a_record():
    usual, part = plain(config([])), plain(config(["dataset.fraction=0.1"]))
    without = usual | {"dataset": {name: item for name, item in usual["dataset"].items() if name != "fraction"}}
    assert usual["dataset"]["fraction"] is None
    assert run_id(without) == run_id(usual) != run_id(part)
    assert name_of("dataset", part["dataset"], part) == "cluttered_digits fraction=0.1"
    assert digests(usual) == digests(without)
    assert "attnlab/data/parts.py" in digests(part)["data.parts"]
    assert "attnlab/data/parts.py" in digests(plain(config(["recipe.validation.images=0.1"])))["data.parts"]


def test_the_expected_time_counts_the_images_that_are_trained_on():
    overrides = ["dataset=cifar10", "recipe.epochs=1", "recipe.validation.images=0.2", "dataset.fraction=0.5"]
    assert training_images(plain(config(overrides))) == 20_000


def test_start_from_does_not_compare_a_share_with_a_number():
    share, number = (plain(config([f"recipe.validation.images={held}"])) for held in ("0.2", "2000"))
    assert _leak(share, share) == ""
    assert (
        _leak(number, share)
        == "; its training images may hold some that are held out here: val/top1_error may be too low"
    )
    larger = plain(config(["recipe.validation.images=0.3"]))
    assert _leak(share, larger) == "; it was trained on images that are held out here, so val/top1_error is too low"
