"""How hard the digits of cluttered_digits are to find: the keys clutter, contrast and digit_height."""

import pytest
import torch

from attnlab.configuration.compose import config
from attnlab.configuration.identity import run_id
from attnlab.data.cluttered_digits import ClutteredDigits, difficulty_of
from attnlab.data.cluttered_digits_images import Difficulty, Split, generate
from attnlab.data.memory import Images, content_hash
from attnlab.errors import ConfigError

SIZES = {"train_size": 803, "test_size": 307}


@pytest.fixture(scope="module")
def usual() -> dict[str, Split]:
    return generate(**SIZES)


def test_the_default_is_the_set_of_the_first_records(usual):
    """The hash was taken at 192e92c, before there were such keys."""
    splits = [Images(split.images, split.labels, split.masks) for split in usual.values()]
    assert content_hash(*splits) == "c6d9567f1ed77f7f"
    assert difficulty_of() == Difficulty(clutter=6, contrast=(0.3, 0.5), digit_height=(13, 19))
    assert run_id(config(["dataset.clutter=null"])) == run_id(config([]))
    assert run_id(config(["dataset.clutter=2"])) != run_id(config([]))


def test_less_clutter_hides_less_and_leaves_photographs_labels_and_masks(usual):
    none = generate(**SIZES, difficulty=Difficulty(clutter=0))["test"]
    assert torch.equal(none.labels, usual["test"].labels)
    assert none.images.shape == usual["test"].images.shape
    assert float(none.masks.float().mean()) == pytest.approx(float(usual["test"].masks.float().mean()), rel=0.1)


def test_taller_digits_are_taller_and_stay_inside():
    masks = generate(**SIZES, difficulty=difficulty_of(digit_height=[24, 24]))["train"].masks
    heights = masks.any(2).sum(1)
    assert heights.float().mean() > 20
    assert not masks[:, [0, -1]].any()
    assert not masks[:, :, [0, -1]].any()


def luma_difference(split: Split) -> float:
    """The mean difference in luma between a digit's inside and the rest of its picture's ink-free surroundings."""
    luma = (split.images.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1) / 255
    mask = split.masks.float()
    near = torch.nn.functional.max_pool2d(mask[:, None], 5, 1, 2)[:, 0] - mask
    inside = (luma * mask).sum((1, 2)) / mask.sum((1, 2))
    around = (luma * near).sum((1, 2)) / near.sum((1, 2))
    return float((inside - around).abs().mean())


def test_more_contrast_is_seen_and_never_leaves_the_range(usual):
    strong = generate(**SIZES, difficulty=difficulty_of(contrast=[0.9, 1.0]))["train"]
    middle = generate(**SIZES, difficulty=difficulty_of(contrast=[0.5, 0.5]))["train"]
    assert luma_difference(usual["train"]) < luma_difference(middle) < luma_difference(strong)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("clutter", -1, "an integer from 0 to 50"),
        ("clutter", 51, "an integer from 0 to 50"),
        ("clutter", True, "an integer from 0 to 50"),
        ("contrast", 0.5, r"\[least, most\], from 0.05 to 1 \(luma\)"),
        ("contrast", [0.5, 0.3], r"\[least, most\], from 0.05 to 1 \(luma\)"),
        ("contrast", [0.5, 1.1], r"\[least, most\], from 0.05 to 1 \(luma\)"),
        ("digit_height", [13, 25], r"\[least, most\], from 8 to 24 \(px\)"),
        ("digit_height", [13, "19"], r"\[least, most\], from 8 to 24 \(px\)"),
    ],
)
def test_values_that_make_no_image_are_one_message(key, value, allowed):
    settings = {"classes": 10, "image_size": 32, "batch_size": 10, "validation": {"images": 0}, key: value}
    with pytest.raises(ConfigError, match=rf"^wrong value dataset\.{key}=.*; allowed is {allowed}$"):
        ClutteredDigits(**settings)
