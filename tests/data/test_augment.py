"""Augmentation: one draw an image, the exact geometry, the statistics; the fast form equals the plain one."""

from itertools import product

import pytest
import torch

from attnlab.data import augment
from attnlab.data.augment import DRAWS, Preprocess, shift
from attnlab.errors import ConfigError


def draws(batch, **columns):
    found = torch.full((batch, DRAWS), 0.5)
    for name, value in columns.items():
        found[:, {"flip": 0, "crop_y": 1, "crop_x": 2, "shift_y": 3, "shift_x": 4}[name]] = torch.as_tensor(value)
    return found


def plain(made, images, uniform):
    """The definition: normalise, shift, pad, crop, mirror, image by image; the same values, not the same speed."""
    x, p = images.float().div(255).sub(made.mean).div(made.sd), made.crop
    if made.shift:
        x = shift(x, uniform, made.shift)
    height, width = x.shape[2:]
    found = []
    for image, draw in zip(x, uniform, strict=True):
        padded = made.fill.view(-1, 1, 1).repeat(1, height + 2 * p, width + 2 * p)
        padded[:, p : p + height, p : p + width] = image
        top, left = int(draw[1] * (2 * p + 1)), int(draw[2] * (2 * p + 1))
        window = padded[:, top : top + height, left : left + width]
        found.append(window.flip(-1) if made.flip and draw[0] < 0.5 else window)
    return torch.stack(found)


@pytest.mark.parametrize("normalize", ["channel", "mean_image", "scale"])
@pytest.mark.parametrize("fill", ["mean", "black"])
def test_the_fast_form_equals_the_plain_one_bit_for_bit(normalize, fill):
    torch.manual_seed(0)
    images, uniform = torch.randint(0, 256, (40, 3, 7, 5), dtype=torch.uint8), torch.rand(40, DRAWS)
    uniform[0], uniform[1] = 0.0, 1 - 2**-24
    for pixels, mirrored, fraction in product((0, 1, 4, 9), (False, True), (0, 0.1)):
        made = Preprocess(normalize, {"crop": pixels, "flip": mirrored, "crop_fill": fill, "shift": fraction}, images)
        x, y = plain(made, images, uniform), made(images, uniform)
        assert torch.equal(x.view(torch.int32), y.view(torch.int32)), (pixels, mirrored, fraction)
        assert y.is_contiguous()


@pytest.mark.parametrize("normalize", ["channel", "mean_image"])
def test_a_border_filled_with_the_mean_is_exactly_zero(normalize):
    images = torch.randint(100, 256, (20, 3, 8, 8), dtype=torch.uint8)
    made = Preprocess(normalize, {"crop": 3, "flip": True}, images)
    y = made(images, draws(20, crop_y=0.0, crop_x=0.0, flip=torch.arange(20) / 20))
    assert bool((y[:, :, :3] == 0).all())
    assert bool((y[:10, :, :, 5:] == 0).all())  # mirrored
    assert bool((y[10:, :, :, :3] == 0).all())


@pytest.mark.parametrize("augmentation", [None, {"crop": 2, "flip": True}, {"shift": 0.1, "flip": True}])
def test_parts_of_a_large_batch_are_the_whole(augmentation, monkeypatch):
    images, uniform = torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8), torch.rand(7, DRAWS)
    made = Preprocess("mean_image", augmentation, images)
    whole = made(images, uniform)
    for values in (1, 3 * 3 * 64, 7 * 3 * 64 - 1):
        monkeypatch.setattr(augment, "CACHED", values)
        assert torch.equal(made(images, uniform), whole)


@pytest.mark.parametrize("augmentation", [None, {"crop": 2, "flip": True}, {"shift": 0.1, "crop": 1}])
def test_on_a_device_no_value_is_read(augmentation):
    """Tensors on `meta` have none; statistics move to where the images are."""
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    made = Preprocess("mean_image", augmentation, images)
    here, uniform = made(images, torch.full((6, DRAWS), 0.3)), torch.rand(6, DRAWS, device="meta")
    there = made(images.to("meta"), uniform)
    assert (there.device.type, there.shape, there.dtype) == ("meta", here.shape, here.dtype)


def test_flip_per_image():
    images = torch.randint(0, 256, (3, 3, 8, 6), dtype=torch.uint8)
    y = Preprocess("scale", {"flip": True})(images, draws(3, flip=torch.tensor([0.0, 0.7, 0.49])))
    x = images / 255
    assert torch.equal(y[0], x[0].flip(-1))
    assert torch.equal(y[1], x[1])
    assert torch.equal(y[2], x[2].flip(-1))


def test_crop_offsets_are_uniform_and_differ_within_a_batch():
    torch.manual_seed(0)
    ramp = torch.arange(9, dtype=torch.uint8).view(1, 1, 1, 9).expand(5000, 3, 9, 9).contiguous()
    y = Preprocess("scale", {"crop": 4})(ramp, torch.rand(5000, DRAWS)) * 255
    centre = y[:, 0, 4, 4].round().long()  # 0..8, one value for each horizontal offset
    counts = torch.bincount(centre, minlength=9)
    assert counts.min() > 5000 / 9 * 0.8
    assert counts.max() < 5000 / 9 * 1.2


def test_shift_by_whole_and_half_pixels():
    # fraction 1/8 of width 8: draws 1 -> one pixel, 0.75 -> half a pixel; the picture moves, edges repeat
    x = torch.arange(8.0).view(1, 1, 1, 8).expand(2, 1, 8, 8).contiguous()
    y = shift(x, draws(2, shift_x=torch.tensor([1.0, 0.75])), 1 / 8)
    assert torch.allclose(y[0, 0, 0], torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 7]), atol=1e-5)
    assert torch.allclose(y[1, 0, 0, :-1], torch.arange(7) + 0.5, atol=1e-5)
    assert float(y[1, 0, 0, -1]) == pytest.approx(7)
    still = shift(x, draws(2), 1 / 8)
    assert torch.allclose(still, x, atol=1e-5)


def test_normalisation():
    images = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8)
    x = images.float() / 255
    channel = Preprocess("channel", None, images)(images)
    assert torch.allclose(channel.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(channel.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    mean = Preprocess("mean", None, images)
    assert torch.allclose(mean(images), x - x.mean((0, 2, 3)).view(3, 1, 1), atol=1e-6)
    given = Preprocess("mean", None, mean=[0.1, 0.2, 0.3], sd=[0.5, 0.5, 0.5])
    assert torch.allclose(given(images), x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), atol=1e-6)
    assert torch.allclose(Preprocess("mean_image", None, images)(images), x - x.mean(0), atol=1e-6)
    assert torch.allclose(Preprocess("scale", None, images)(images), x)


def test_crop_fill_black_is_black_before_normalising():
    images = torch.randint(100, 256, (1, 3, 8, 8), dtype=torch.uint8)
    made = Preprocess("channel", {"crop": 4, "crop_fill": "black"}, images)
    y = made(images, draws(1, crop_y=0.0, crop_x=0.0))
    assert torch.allclose(y[0, :, 0, 0], (-made.mean / made.sd).flatten(), atol=1e-6)
    assert torch.equal(Preprocess("channel", {"crop": 4}, images).fill, torch.zeros(3))


def test_without_draws_nothing_is_augmented():
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    made = Preprocess("scale", {"crop": 2, "flip": True, "shift": 0.1}, images)
    assert torch.allclose(made(images), images.float() / 255)
    assert not torch.allclose(made(images, torch.rand(4, DRAWS)), images.float() / 255)


def test_unknown_settings_are_refused():
    with pytest.raises(ConfigError, match=r"recipe\.augment\.rotate: .* allowed are crop, crop_fill, flip, shift"):
        Preprocess("scale", {"rotate": 3})
    with pytest.raises(ConfigError, match=r"recipe\.normalize=whiten; allowed are channel, mean, mean_image, scale"):
        Preprocess("whiten", None, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
