"""Overlays: soft and hard maps, the object's outline, tiles in rows."""

import numpy as np
import torch

from attnlab.evaluation.drawing.overlays import (
    GAP,
    OUTLINE,
    enlarge,
    hard_overlay,
    mosaic,
    outline_object,
    soft_overlay,
)


def square():
    """An image whose right half is bright, and a map of the same."""
    image = torch.full((3, 32, 32), 40, dtype=torch.uint8)
    image[:, :, 16:] = 200
    map_ = torch.zeros(32, 32)
    map_[:, 16:] = 0.01
    return image, map_


def test_soft_is_bright_where_the_map_is_high_whatever_its_range():
    image, map_ = torch.full((3, 32, 32), 100, dtype=torch.uint8), square()[1]
    for scale in (1, 1000):
        drawn = soft_overlay(image, scale * map_).astype(int).sum(axis=2)
        assert drawn[:, -20:].min() > 2 * drawn[:, :20].max()


def test_hard_keeps_what_is_selected_and_darkens_the_rest():
    image, map_ = square()
    drawn = hard_overlay(image, map_)
    assert (drawn[:, -20:] == 200).all()
    assert drawn[:, :20].max() < 40
    flat = hard_overlay(image, torch.ones(32, 32))
    assert (flat == enlarge(image)).all()  # a map that prefers nothing selects everything


def test_the_outline_is_the_masks_edge():
    tile = enlarge(torch.zeros(3, 32, 32, dtype=torch.uint8))
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[10:20, 5:15] = True
    drawn = outline_object(tile, mask)
    edge = (drawn == OUTLINE).all(axis=2)
    factor = tile.shape[0] // 32
    inside = mask.numpy().repeat(factor, 0).repeat(factor, 1)
    assert edge.any()
    assert (edge <= inside).all()
    assert not edge[12 * factor : 18 * factor, 7 * factor : 13 * factor].any()
    assert edge[10 * factor, 5 * factor : 15 * factor].all()
    assert (outline_object(tile, None) == tile).all()


def test_a_mosaic_is_its_tiles():
    a, b = np.full((4, 5, 3), 7, np.uint8), np.full((4, 5, 3), 9, np.uint8)
    canvas = mosaic([[a, b], [None, a]])
    assert canvas.shape == (8 + GAP, 10 + GAP, 3)
    assert (canvas[:4, 5 + GAP :] == 9).all()
    assert (canvas[4 + GAP :, :5] == 255).all()
