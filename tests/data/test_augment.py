"""Augmentation: one draw an image, the exact geometry, the statistics."""

import pytest
import torch
import torch.nn.functional as F

from attnlab.data.augment import DRAWS, Preprocess, crop, flip, shift
from attnlab.errors import ConfigError


def draws(batch, **columns):
    found = torch.full((batch, DRAWS), 0.5)
    for name, value in columns.items():
        found[:, {"flip": 0, "crop_y": 1, "crop_x": 2, "shift_y": 3, "shift_x": 4}[name]] = torch.as_tensor(value)
    return found


X = torch.randn(3, 3, 8, 6)


def test_flip_per_image():
    y = flip(X, draws(3, flip=torch.tensor([0.0, 0.7, 0.49])))
    assert torch.equal(y[0], X[0].flip(-1))
    assert torch.equal(y[1], X[1])
    assert torch.equal(y[2], X[2].flip(-1))


def test_crop_per_image_is_a_window_of_the_padded_image():
    fill = torch.tensor([1.0, 2.0, 3.0])
    uniform = torch.rand(3, DRAWS)
    y = crop(X, uniform, 2, fill)
    for i in range(3):
        padded = torch.stack([F.pad(X[i, c], (2, 2, 2, 2), value=float(fill[c])) for c in range(3)])
        top, left = int(uniform[i, 1] * 5), int(uniform[i, 2] * 5)
        assert torch.equal(y[i], padded[:, top : top + 8, left : left + 6])


def test_crop_offsets_are_uniform_and_differ_within_a_batch():
    torch.manual_seed(0)
    ramp = torch.arange(9.0).view(1, 1, 1, 9).expand(5000, 1, 9, 9).contiguous()
    y = crop(ramp, torch.rand(5000, DRAWS), 4, torch.zeros(1))
    centre = y[:, 0, 4, 4].long()  # 0..8, one value for each horizontal offset
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
    with pytest.raises(ConfigError, match=r"recipe\.normalize=whiten: allowed are channel, mean_image, scale"):
        Preprocess("whiten", None, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
