"""The operations of TrivialAugment and RandAugment are torchvision's, each image with its own."""

import math

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from attnlab.data.image_policy import _NARROW, _WIDE, LEVELS, NUMBER, OPERATIONS, POLICIES, SIGNED, apply

SPACES = {"trivial": (_WIDE, v2.TrivialAugmentWide), "rand": (_NARROW, v2.RandAugment)}
NAMES = {
    "identity": "Identity", "shear_x": "ShearX", "shear_y": "ShearY", "translate_x": "TranslateX",
    "translate_y": "TranslateY", "rotate": "Rotate", "brightness": "Brightness", "colour": "Color",
    "contrast": "Contrast", "sharpness": "Sharpness", "posterize": "Posterize", "solarize": "Solarize",
    "autocontrast": "AutoContrast", "equalize": "Equalize",
}  # fmt: skip


@pytest.fixture
def images(draw):
    """Smooth images with all values: noise alone would hide a shift by a pixel."""
    waves = torch.rand(6, 3, 5, 5, generator=draw(3))
    return (tv.resize(waves, [32, 32], antialias=False) * 255).clamp(0, 255).to(torch.uint8)


def of_torchvision(kind, image, name, number, negative):
    """torchvision's operation at level `number` of one image."""
    policy = kind()
    magnitudes, signed = policy._AUGMENTATION_SPACE[NAMES[name]]
    found = magnitudes(LEVELS, *image.shape[1:])
    magnitude = 0.0 if found is None else float(found[number])
    return policy._apply_image_or_video_transform(
        image, NAMES[name], -magnitude if signed and negative else magnitude, policy.interpolation, policy._fill
    )


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_torchvisions(images, space, name):
    ours, kind = SPACES[space]
    for number in (0, 1, 9, 17, LEVELS - 1):
        for negative in (False, True):
            level = torch.full((len(images),), number / (LEVELS - 1))
            operation = torch.full((len(images),), NUMBER[name])
            found = apply(images, operation, level, torch.full_like(operation, negative).bool(), ours).float()
            expected = torch.stack([of_torchvision(kind, image, name, number, negative) for image in images]).float()
            off = (found - expected).abs()
            if name in SIGNED[:5]:  # a pixel on the border of two may be rounded to either
                assert float((off > 0).float().mean()) < 0.01, (number, negative)
            else:
                assert float(off.max()) <= 1, (number, negative)  # a product that is cut off at a whole number
                assert float((off > 0).float().mean()) < 0.02


def test_each_image_gets_its_own_operation(images):
    operation = torch.tensor(
        [NUMBER[name] for name in ("rotate", "solarize", "identity", "equalize", "shear_x", "colour")]
    )
    level, negative = torch.linspace(0.2, 0.8, 6), torch.tensor([True, False] * 3)
    together = apply(images, operation, level, negative, _WIDE)
    for i in range(6):
        alone = apply(images[i : i + 1], operation[i : i + 1], level[i : i + 1], negative[i : i + 1], _WIDE)
        assert torch.equal(together[i], alone[0])
    assert torch.equal(together[2], images[2])


@pytest.mark.parametrize("policy", POLICIES)
def test_all_operations_levels_and_signs_are_drawn_equally_often(monkeypatch, draw, policy):
    seen = []

    def note(images, operation, level, negative, space):
        seen.append((operation, level, negative))
        return images

    monkeypatch.setattr("attnlab.data.image_policy.apply", note)
    count = 28_000
    POLICIES[policy](torch.zeros(count, 3, 1, 1, dtype=torch.uint8), torch.rand(count, 4, generator=draw(1)))
    for operation, level, negative in seen:
        counts = torch.bincount(operation, minlength=len(OPERATIONS))
        assert len(counts) == len(OPERATIONS)
        assert bool(((counts - count / 14).abs() < 5 * math.sqrt(count / 14)).all())
        assert abs(float(negative.float().mean()) - 0.5) < 0.02
        levels = (level * (LEVELS - 1)).round().long().unique().tolist()
        assert levels == (list(range(LEVELS)) if policy == "trivial" else [9])
    assert len(seen) == {"trivial": 1, "rand": 2}[policy]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_gpu_which_computes_all_images_gives_the_same(monkeypatch, images, draw, policy):
    many = images.repeat(10, 1, 1, 1)
    draws = torch.rand(len(many), 4, generator=draw(8))
    expected = POLICIES[policy](many, draws)

    def changed(images, chosen, change):  # as for a device that is no CPU
        return torch.where(chosen.view(-1, 1, 1, 1), change(images, slice(None)), images)

    monkeypatch.setattr("attnlab.data.image_policy._changed", changed)
    assert torch.equal(POLICIES[policy](many, draws), expected)
