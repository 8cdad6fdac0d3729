"""Deletion, insertion and ROAD, against loops over pixels and for models whose scores are known."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from attnlab.evaluation.metrics.faithfulness import SHARES, blur_images, deletion, impute, insertion, pixel_places, road

SCORES = {
    "deletion": deletion,
    "insertion": insertion,
    "morf": lambda *arguments, **settings: road(*arguments, **settings)["morf"],
    "lerf": lambda *arguments, **settings: road(*arguments, **settings)["lerf"],
}


def brightness(images):
    """Two classes, whose probabilities are linear in the pixels: the first is the mean of the first channel."""
    first = images[:, 0].mean(dim=(1, 2))
    return torch.stack([first, 1 - first], dim=1)


def classifier(draw, height=8, width=8, classes=5):
    """Probabilities of a small random network."""
    weights = torch.randn(3 * height * width, classes, generator=draw(0), dtype=torch.float64)

    def predict(images):
        return (images.double().tanh().flatten(1) @ weights).softmax(dim=1)

    return predict


@pytest.fixture
def batch(draw):
    """Images, maps, classes."""
    generator = draw(1)
    images = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
    return images, torch.rand(6, 8, 8, generator=generator), torch.randint(0, 5, (6,), generator=generator)


def by_hand(predict, before, after, maps, classes, steps):
    """The area for one image at a time, pixel by pixel."""
    areas = []
    for image, into, values, label in zip(before, after, maps, classes, strict=True):
        now, order = image.clone(), values.flatten().argsort(descending=True).tolist()
        curve = [float(predict(now[None])[0, label])]
        for step in range(steps):
            for pixel in order[step * len(order) // steps : (step + 1) * len(order) // steps]:
                now[:, pixel // now.shape[2], pixel % now.shape[2]] = into[
                    :, pixel // now.shape[2], pixel % now.shape[2]
                ]
            curve.append(float(predict(now[None])[0, label]))
        areas.append((sum(curve) - (curve[0] + curve[-1]) / 2) / steps)
    return areas


def test_deletion_and_insertion_are_the_loop_over_pixels(draw, batch):
    images, maps, classes = batch
    predict = classifier(draw)
    black = torch.zeros_like(images)
    for steps in (1, 16, 64):
        expected = by_hand(predict, images, black, maps, classes, steps)
        assert deletion(predict, images, maps, classes, steps).tolist() == pytest.approx(expected, abs=1e-12)
        expected = by_hand(predict, blur_images(images, 1 / 8), images, maps, classes, steps)
        assert insertion(predict, images, maps, classes, steps).tolist() == pytest.approx(expected, abs=1e-12)


def test_the_area_of_a_linear_model_is_known():
    """One bright pixel of 64 is all there is: first deleted it costs its probability at once, last only at the end."""
    images = torch.zeros(1, 3, 8, 8)
    images[0, 0, 2, 3] = 64
    first = torch.rand(1, 8, 8).where(images[:, 0] == 0, 2.0)
    label = torch.tensor([0])
    assert deletion(brightness, images, first, label, 64).item() == pytest.approx(1 / 128)
    assert deletion(brightness, images, -first, label, 64).item() == pytest.approx(1 - 1 / 128)
    assert deletion(brightness, images, first, label, 10).item() == pytest.approx(6 / 128)  # 10 steps of 6 or 7 pixels
    assert deletion(brightness, images, first, 1 - label, 64).item() == pytest.approx(1 - 1 / 128)


def test_the_blur_is_scipys(batch):
    images = torch.nn.functional.pad(batch[0], (0, 3))
    sigma = 8 / 8
    expected = gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="mirror", radius=(0, 0, 3, 3))
    assert np.allclose(blur_images(images, 1 / 8).numpy(), expected, atol=1e-12)
    assert torch.allclose(blur_images(torch.full((1, 3, 32, 32), 0.7), 1 / 8), torch.tensor(0.7))
    wave = torch.arange(32) * 2 * torch.pi / 32
    left = [float(blur_images((f * wave).cos().expand(1, 1, 32, 32), 1 / 8)[0, 0, 5, 0]) for f in (2, 3, 4)]
    assert left == pytest.approx([0.29, 0.06, 0.01], abs=0.01)  # the values in the docstring of insertion


def test_road_is_the_mean_over_shares(draw, batch):
    images, maps, classes = batch
    predict = classifier(draw)
    found = road(predict, images, maps, classes, seed=3)
    for name, order in (("morf", pixel_places(maps)), ("lerf", pixel_places(-maps))):
        curve = [predict(impute(images, order < round(64 * share), seed=3)) for share in SHARES]
        expected = torch.stack(curve).mean(dim=0).gather(1, classes[:, None])[:, 0]
        assert torch.allclose(found[name], expected, atol=1e-12)
        assert found[name].dtype == torch.float64
    assert not torch.allclose(found["morf"], found["lerf"], atol=1e-3)


@pytest.mark.parametrize("name", ["deletion", "insertion", "road"])
def test_the_map_that_the_model_uses_beats_chance_and_its_negative_loses(name):
    """Probability: a sigmoid of what a patch of stripes holds; the stripes are gone once blurred or imputed."""
    stripes = torch.zeros(20, 3, 16, 16)
    stripes[:, :, 4:9, 6:12] = torch.tensor([2.0, -2.0]).repeat(3)
    detector = stripes[:1]

    def predict(images):
        inside = ((images * detector).sum(dim=(1, 2, 3)) / 100 - 1.8).sigmoid()
        return torch.stack([inside, 1 - inside], dim=1)

    torch.manual_seed(0)
    images, classes = stripes + 0.1 * torch.randn_like(stripes), torch.zeros(20, dtype=torch.long)
    true, random = (stripes[:, 0] != 0).float(), torch.rand(20, 16, 16)

    def score(maps):
        if name == "road":
            both = road(predict, images, maps, classes)
            return float((both["lerf"] - both["morf"]).mean())
        return float(SCORES[name](predict, images, maps, classes).mean()) * (-1 if name == "deletion" else 1)

    good, chance, bad = score(true), score(random), score(-true)
    assert good > chance + 0.1
    assert chance > bad + 0.1


@pytest.mark.parametrize("name", SCORES)
def test_no_score_hangs_on_other_images_or_on_the_maps_scale(draw, batch, name):
    images, maps, classes = batch
    maps = (maps * 5).floor()  # ties
    predict = classifier(draw)
    score = SCORES[name](predict, images, maps, classes)
    assert score.dtype == torch.float64
    assert torch.allclose(SCORES[name](predict, images[4:], maps[4:], classes[4:]), score[4:], atol=1e-12)
    assert torch.allclose(SCORES[name](predict, images, maps.double() * 4 - 9, classes), score, atol=1e-12)


def test_ties_stand_in_a_random_order(draw):
    flat = torch.zeros(3, 16, 16)
    order = pixel_places(flat)
    assert torch.equal(order[0], order[2])
    assert torch.equal(order[0].flatten().sort().values, torch.arange(256))
    assert torch.equal(order, pixel_places(flat, 0))
    assert not torch.equal(order, pixel_places(flat, 1))
    for axis in (0, 1):  # the places, 0 to 255, depend neither on the row nor on the column
        assert abs(float(order[0].double().mean(dim=axis) @ torch.linspace(-1, 1, 16).double())) < 130
    steps = torch.arange(16.0).repeat_interleave(16).view(1, 16, 16)
    order = pixel_places(steps)
    assert torch.equal(order // 16, (15 - steps).long())
    assert not torch.equal(order[0, 3].sort().indices, torch.arange(16))


def test_a_constant_map_scores_zero_in_road(draw, batch):
    images, maps, classes = batch
    found = road(classifier(draw), images, torch.ones_like(maps), classes)
    assert torch.equal(found["morf"], found["lerf"])


def test_wrong_input_is_refused(draw, batch):
    images, maps, classes = batch
    predict = classifier(draw)
    for score in SCORES.values():
        for arguments, message in (
            ((predict, images, maps[:, :-1], classes), "maps"),
            ((predict, images[0], maps, classes), "images"),
            ((predict, images, maps / 0, classes), "finite"),
            ((predict, images, maps, classes[:, None]), "classes"),
            ((lambda x: predict(x).log(), images, maps, classes), "allowed are probabilities"),
            ((lambda x: predict(x) * torch.nan, images, maps, classes), "allowed are probabilities"),
        ):
            with pytest.raises(ValueError, match=message):
                score(*arguments)
    with pytest.raises(ValueError, match="steps=0"):
        deletion(predict, images, maps, classes, steps=0)
    for share in (0.0, 0.5):
        with pytest.raises(ValueError, match=f"blur={share}"):
            insertion(predict, images, maps, classes, blur=share)
    for shares in ((), (0.5, 1.0), (0.0,)):
        with pytest.raises(ValueError, match="shares="):
            road(predict, images, maps, classes, shares)
    for removed in (maps, maps[:3] > 0.5, maps[:, :3] > 0.5):
        with pytest.raises(ValueError, match="removed"):
            impute(images, removed)


@pytest.mark.parametrize("score", [deletion, insertion, road])
def test_no_gradient_is_kept(draw, batch, score):
    images, maps, classes = batch
    seen = []

    def predict(x):
        seen.append(torch.is_grad_enabled())
        return classifier(draw)(x)

    score(predict, images, maps, classes)
    assert not any(seen)
