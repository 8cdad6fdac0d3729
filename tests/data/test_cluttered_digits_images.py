import dataclasses

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from attnlab.data import cluttered_digits_images
from attnlab.data.cluttered_digits_images import PHOTOS, TEST_PHOTOS, TRAIN_PHOTOS, Split, generate

TRAIN_SIZE, TEST_SIZE = 803, 307  # no multiples of ten, nor of the batch size


@pytest.fixture(scope="module")
def splits() -> dict[str, Split]:
    return generate(train_size=TRAIN_SIZE, test_size=TEST_SIZE)


def assert_same(a: Split, b: Split) -> None:
    for field in dataclasses.fields(Split):
        assert torch.equal(getattr(a, field.name), getattr(b, field.name)), field.name


def test_shapes_and_types(splits: dict[str, Split]) -> None:
    assert list(splits) == ["train", "test"]
    for split, size in ((splits["train"], TRAIN_SIZE), (splits["test"], TEST_SIZE)):
        assert split.images.shape == (size, 3, 32, 32)
        assert split.images.dtype == torch.uint8
        assert split.masks.shape == (size, 32, 32)
        assert split.masks.dtype == torch.bool
        assert split.labels.shape == split.photos.shape == (size,)
        assert split.labels.dtype == split.photos.dtype == torch.int64
        assert all(getattr(split, field.name).is_contiguous() for field in dataclasses.fields(Split))


def test_same_arguments_give_the_same_bytes_and_leave_the_global_generator_alone(splits: dict[str, Split]) -> None:
    torch.manual_seed(123)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    cluttered_digits_images._photo_pyramids.cache_clear()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        again = generate(train_size=TRAIN_SIZE, test_size=TEST_SIZE)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(splits["train"], again["train"])
    assert_same(splits["test"], again["test"])


def test_batch_size_changes_nothing(splits: dict[str, Split], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluttered_digits_images, "BATCH_SIZE", 171)
    assert_same(splits["train"], generate(train_size=TRAIN_SIZE, test_size=TEST_SIZE)["train"])


def test_seeds_give_other_images(splits: dict[str, Split]) -> None:
    other = generate(train_size=TRAIN_SIZE, test_size=TEST_SIZE, seed=1)
    assert not torch.equal(splits["train"].labels, other["train"].labels)
    assert not torch.equal(splits["test"].images, other["test"].images)


def test_sizes_are_independent(splits: dict[str, Split]) -> None:
    assert_same(splits["train"], generate(train_size=TRAIN_SIZE, test_size=1)["train"])
    assert_same(splits["test"], generate(train_size=1, test_size=TEST_SIZE)["test"])


@pytest.mark.parametrize("size", [1, 9, 10, TRAIN_SIZE])
def test_classes_are_balanced_and_shuffled(size: int) -> None:
    for split in generate(train_size=size, test_size=size).values():
        counts = split.labels.bincount(minlength=10)
        assert counts.max() - counts.min() <= 1
        assert size < 9 or not torch.equal(split.labels, torch.arange(size) % 10)


def test_photos_are_disjoint(splits: dict[str, Split]) -> None:
    assert len(TRAIN_PHOTOS) >= 10
    assert len(set(PHOTOS)) == len(PHOTOS)
    train, test = ({PHOTOS[k] for k in splits[name].photos.tolist()} for name in ("train", "test"))
    assert train == set(TRAIN_PHOTOS)
    assert test == set(TEST_PHOTOS)


def test_digits_are_stratified() -> None:
    train, test = cluttered_digits_images._split_digits(torch.Generator().manual_seed(0))
    assert sorted(torch.cat(train + test).tolist()) == list(range(1797))
    for in_train, in_test in zip(train, test, strict=True):
        assert len(in_train) / (len(in_train) + len(in_test)) == pytest.approx(0.8, abs=0.01)


def test_digits_and_fragments_are_disjoint_between_splits_and_of_their_class(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[dict[str, Tensor]] = []
    generate_split = cluttered_digits_images._generate_split

    def spy(scenes: dict[str, Tensor]) -> Split:
        drawn.append(scenes)
        return generate_split(scenes)

    monkeypatch.setattr(cluttered_digits_images, "_generate_split", spy)
    generate(train_size=TRAIN_SIZE, test_size=TEST_SIZE)
    train, test = drawn
    assert not torch.isin(train["digit"], test["digit"]).any()
    for scenes in drawn:
        assert scenes["digit"].shape == (len(scenes["label"]), 7)
        assert torch.equal(torch.from_numpy(load_digits().target)[scenes["digit"][:, 0]], scenes["label"])
        assert (scenes["digit"][:, :1] != scenes["digit"][:, 1:]).all()


def test_masks_are_of_the_size_of_a_digit_and_fully_inside(splits: dict[str, Split]) -> None:
    for split in splits.values():
        area = split.masks.float().mean((1, 2))
        assert area.min() > 0.03
        assert area.max() < 0.20
        assert 0.06 < area.mean() < 0.12
        rows = split.masks.any(2).sum(1)
        assert rows.min() >= 10
        assert rows.max() <= 24
        inner = F.pad(torch.ones(30, 30, dtype=torch.bool), (1, 1, 1, 1))
        assert not (split.masks & ~inner).any()
    centre = splits["train"].masks.float().mean(0)
    assert centre[:16].sum() / centre.sum() == pytest.approx(0.5, abs=0.03)
    assert centre[:, :16].sum() / centre.sum() == pytest.approx(0.5, abs=0.03)


def test_mask_is_where_the_digit_is(splits: dict[str, Split]) -> None:
    split = splits["train"]
    mask, images = split.masks[:, None].float(), split.images.float() / 255
    interior = -F.max_pool2d(-mask, 3, 1, 1)
    ring = F.max_pool2d(mask, 5, 1, 2) - F.max_pool2d(mask, 3, 1, 1)  # clear of the smooth edge
    luma = (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)

    def mean(values: Tensor, weights: Tensor) -> Tensor:
        return (values * weights).sum((2, 3)) / weights.sum((2, 3))

    # One colour inside the strokes, whose luma differs from that of the surroundings.
    has_interior = interior.sum((1, 2, 3)) > 0
    assert has_interior.float().mean() > 0.7
    spread = (mean(images**2, interior) - mean(images, interior) ** 2).clamp_min(0).sqrt()[has_interior]
    assert spread.median() < 0.01
    assert (spread < 0.05).float().mean() > 0.95
    contrast = (mean(luma, mask) - mean(luma, ring)).abs()
    assert contrast.median() > 0.25
    assert (contrast > 0.1).float().mean() > 0.9

    # The same measure finds nothing where the digit is not.
    elsewhere = split.masks.roll(1, 0)[:, None].float()
    ring = F.max_pool2d(elsewhere, 5, 1, 2) - F.max_pool2d(elsewhere, 3, 1, 1)
    assert (mean(luma, elsewhere) - mean(luma, ring)).abs().median() < 0.15


def test_masks_do_not_depend_on_the_clutter(monkeypatch: pytest.MonkeyPatch, splits: dict[str, Split]) -> None:
    monkeypatch.setattr(cluttered_digits_images, "_paste_fragment", lambda canvas, scene, column: None)
    plain = generate(train_size=TRAIN_SIZE, test_size=1)["train"]
    assert torch.equal(plain.masks, splits["train"].masks)
    assert (plain.images != splits["train"].images).any(1).float().mean() > 0.1


def test_full_bias_makes_the_photo_a_function_of_the_class_in_train_only(splits: dict[str, Split]) -> None:
    biased = generate(train_size=TRAIN_SIZE, test_size=TEST_SIZE, background_bias=1.0)
    assert torch.equal(biased["train"].photos, biased["train"].labels)
    assert torch.equal(biased["train"].masks, splits["train"].masks)
    assert_same(biased["test"], splits["test"])
    for split, photos in ((splits["train"], TRAIN_PHOTOS), (biased["test"], TEST_PHOTOS)):
        for label in range(10):
            counts = split.photos[split.labels == label].bincount(minlength=len(PHOTOS)).float()
            assert counts.max() / counts.sum() < 4 / len(photos)


def test_bias_is_the_probability_of_the_own_photo() -> None:
    split = generate(train_size=TRAIN_SIZE, test_size=1, background_bias=0.5)["train"]
    expected = 0.5 + 0.5 / len(TRAIN_PHOTOS)
    assert (split.photos == split.labels).float().mean() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("train_size", 0), ("test_size", -4), ("background_bias", -0.1), ("background_bias", 1.5),
     ("background_bias", float("nan"))],
)  # fmt: skip
def test_errors_name_the_argument_the_value_and_what_is_allowed(argument: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"dataset\.{argument}={value}; allowed are .*(from 1|from 0 to 1)"):
        generate(**{argument: value})  # type: ignore[arg-type]
