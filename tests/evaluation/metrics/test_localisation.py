"""Localisation metrics, against scikit-learn and scikit-image, for perfect and random maps, and their invariances."""

import itertools

import numpy as np
import pytest
import torch
from skimage.filters import threshold_otsu
from sklearn.metrics import average_precision_score, jaccard_score

from attnlab.evaluation.metrics.localisation import (
    average_precision,
    best_threshold,
    chance,
    energy,
    iou,
    otsu,
    pointing,
)

SCORES = {
    "pointing": pointing,
    "energy": energy,
    "average_precision": average_precision,
    "iou": lambda maps, masks: iou(maps, masks, 0.37),
}


def boxes(draw, count, height=8, width=8):
    """Masks: a box each, at least one pixel, never all."""
    rows = torch.randint(0, height, (count, 2), generator=draw).sort(dim=1).values
    columns = torch.randint(0, width - 1, (count, 2), generator=draw).sort(dim=1).values
    y, x = torch.arange(height), torch.arange(width)
    inside = (y >= rows[:, :1]) & (y <= rows[:, 1:])
    across = (x >= columns[:, :1]) & (x <= columns[:, 1:])
    return inside[:, :, None] & across[:, None, :]


def noise(draw, masks, dtype=torch.float32):
    return torch.rand(masks.shape, generator=draw, dtype=dtype)


def coarse(maps, levels):
    """Maps of so few values that pixels tie."""
    return (maps * levels).floor()


@pytest.mark.parametrize("name", SCORES)
def test_a_map_equal_to_its_mask_scores_one(draw, name):
    masks = boxes(draw(1), 200, 9, 7)
    score = SCORES[name](masks.float(), masks)
    assert score.dtype == torch.float64
    assert score.shape == (200,)
    assert torch.equal(score, torch.ones(200, dtype=torch.float64))
    assert (SCORES[name](-masks.float(), masks) < 0.9).all()
    threshold = best_threshold(masks.float(), masks)
    assert torch.equal(iou(masks.float(), masks, threshold), score)
    assert torch.equal(iou(masks.float(), masks, otsu(masks.float())), score)


@pytest.mark.parametrize("name", SCORES)
def test_a_random_map_scores_chance(draw, name):
    generator = draw(2)
    masks = boxes(generator, 4000)
    if name == "iou":
        other = boxes(generator, 4000)
        threshold = best_threshold(noise(generator, other), other)
        score = iou(noise(generator, masks), masks, threshold)
    else:
        score = SCORES[name](noise(generator, masks), masks)
    off = score - chance(masks)[name]
    assert abs(off.mean()) < 3.5 * off.std() / 4000**0.5 + 1e-12
    assert chance(masks)[name].std() > 0.05  # not one number for all


def test_chance_of_average_precision_is_the_mean_over_all_rankings():
    for n, k in ((2, 1), (6, 2), (6, 5), (7, 3)):
        places = torch.tensor(list(itertools.combinations(range(n), k)))
        masks = torch.zeros(len(places), n, dtype=torch.bool).scatter_(1, places, True)[:, None]
        ranking = torch.arange(n, 0, -1.0).expand(len(places), 1, n)
        assert float(average_precision(ranking, masks).mean()) == pytest.approx(
            float(chance(masks)["average_precision"][0]), abs=1e-12
        )
        assert chance(masks)["average_precision"][0] > k / n


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_a_constant_map_scores_the_area(draw, name, value):
    masks = boxes(draw(3), 50)
    score = SCORES[name](torch.full(masks.shape, value), masks)
    assert torch.allclose(score, masks.double().mean(dim=(1, 2)), atol=1e-12)
    assert torch.allclose(score, chance(masks)[name], atol=0.06)  # AP's chance has no ties, and is a little higher


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("levels", [4, 1_000_000])
def test_scale_shift_order_of_pixels_and_neighbours_do_not_matter(draw, name, levels):
    generator = draw(4)
    masks = boxes(generator, 100)
    maps = coarse(noise(generator, masks, torch.float64), levels)
    score = SCORES[name](maps, masks)
    assert score.std() > 0
    assert torch.allclose(SCORES[name](maps * 4 - 9, masks), score, atol=1e-12)
    pixels = torch.randperm(64, generator=generator)
    moved = [x.flatten(1)[:, pixels].view_as(x) for x in (maps, masks)]
    assert torch.allclose(SCORES[name](*moved), score, atol=1e-12)
    assert torch.equal(SCORES[name](maps[7:9], masks[7:9]), score[7:9])


def test_tied_maxima_share_the_point():
    maps = torch.tensor([[[3.0, 3, 3, 1]], [[0, 2, 0, 2]], [[0, 1, 2, 3]]])
    masks = torch.tensor([[[True, False, False, True]], [[False, True, False, True]], [[True, True, True, False]]])
    assert pointing(maps, masks).tolist() == pytest.approx([1 / 3, 1, 0])


def test_energy_by_hand():
    maps = torch.tensor([[[1.0, 2, 5, 3]]])  # m = 0, 1/4, 1, 1/2
    assert energy(maps, torch.tensor([[[True, True, False, True]]])).item() == pytest.approx(0.75 / 1.75)


@pytest.mark.parametrize("levels", [2, 5, 1_000_000])
def test_average_precision_is_scikit_learns(draw, levels):
    generator = draw(5, levels)
    masks = boxes(generator, 200)
    maps = coarse(noise(generator, masks), levels)
    expected = [
        average_precision_score(mask.flatten().numpy(), values.flatten().numpy())
        for mask, values in zip(masks, maps, strict=True)
    ]
    assert average_precision(maps, masks).tolist() == pytest.approx(expected, abs=1e-12)


def test_iou_is_scikit_learns_and_takes_a_threshold_each(draw):
    generator = draw(6)
    masks = boxes(generator, 100)
    maps = noise(generator, masks)
    thresholds = torch.rand(100, generator=generator, dtype=torch.float64)
    m = (maps - maps.amin((1, 2), keepdim=True)).double() / (maps.amax((1, 2)) - maps.amin((1, 2)))[:, None, None]
    expected = [
        jaccard_score(mask.flatten().numpy(), (values >= t).flatten().numpy())
        for mask, values, t in zip(masks, m, thresholds, strict=True)
    ]
    each = iou(maps, masks, thresholds)
    assert each.tolist() == pytest.approx(expected, abs=1e-12)
    assert iou(maps[:9], masks[:9], float(thresholds[4]))[4] == each[4]


@pytest.mark.parametrize("levels", [10, 1_000_000])  # tenths lie on the grid: >= and > differ
def test_the_best_threshold_is_the_best_of_the_grid(draw, levels):
    """Over more images than are worked on at once, the last of them unlike the others."""
    generator = draw(7)
    masks = boxes(generator, 700)
    masks[512:] = boxes(generator, 1)
    maps = noise(generator, masks, torch.float64) ** 2 + 0.4 * masks
    maps[512:] = maps[512:] ** 4
    maps = coarse(maps, levels)
    grid = torch.linspace(0, 1, 101, dtype=torch.float64).tolist()
    means = [float(iou(maps, masks, t).mean()) for t in grid]
    best = best_threshold(maps, masks)
    assert 0.05 < best < 0.95
    assert means[grid.index(best)] == pytest.approx(max(means), abs=1e-12)


def test_the_best_threshold_has_the_highest_mean_iou_not_dice():
    """Above 0.5 the IoUs are 1 and 1/5, up to it 4/7 and 5/8; their means 0.6 and 0.598, Dice's 0.67 and 0.75."""
    maps = torch.tensor([[[2.0, 2, 2, 2, 1, 1, 1, 0, 0, 0]], [[2, 1, 1, 1, 1, 1, 1, 1, 0, 0]]])
    masks = torch.arange(10) < torch.tensor([[[4]], [[5]]])
    assert best_threshold(maps, masks) == pytest.approx(0.51)


def test_otsu_is_scikit_images(draw):
    generator = draw(8)
    masks = boxes(generator, 600, 12, 10)
    maps = torch.randn(masks.shape, generator=generator, dtype=torch.float64) + 2 * masks
    maps[:50] = masks[:50].double()  # two values: every bin between them parts as well
    maps[50:100] = coarse(maps[50:100], 3)
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    expected = [threshold_otsu(m.numpy(), nbins=256) for m in (maps - low) / (high - low)]
    thresholds = otsu(maps)
    assert thresholds.tolist() == pytest.approx(expected, abs=1e-12)
    assert np.ptp(expected) > 0.2
    assert otsu(torch.full((1, 4, 4), 7.0)).tolist() == [1]


def test_wrong_input_is_refused(draw):
    masks = boxes(draw(9), 3)
    maps = noise(draw(9), masks)
    empty, full = masks.clone(), masks.clone()
    empty[1], full[2] = False, True
    for score in (*SCORES.values(), best_threshold):
        for wrong, message in ((empty, "first is mask 1"), (full, "first is mask 2"), (masks.float(), "bool")):
            with pytest.raises(ValueError, match=message):
                score(maps, wrong)
        for wrong, message in (
            (maps[:, :-1], "differ"),
            (masks.long(), "floating"),
            (maps.log() * 0 / 0, "finite"),
        ):
            with pytest.raises(ValueError, match=message):
                score(wrong, masks)
    with pytest.raises(ValueError, match="first is mask 1"):
        chance(empty)
    for threshold in (1.01, -0.1, torch.rand(2), torch.rand(3, 8, 8)):
        with pytest.raises(ValueError, match="threshold"):
            iou(maps, masks, threshold)
