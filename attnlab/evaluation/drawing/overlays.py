"""Draw maps over images, as arrays (H, W, 3) uint8: soft, hard, with the object's outline, arranged in rows."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attnlab.evaluation.metrics.localisation import otsu

MIN_TILE = 96  # px, the least length of a tile's shorter side
GAP = 6  # px between tiles
OUTLINE = np.array([0, 230, 255], dtype=np.uint8)
COLOURS = (np.asarray(matplotlib.colormaps["inferno"](np.linspace(0, 1, 256)))[:, :3] * 255).astype(np.float32)
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def enlarge(image: Tensor) -> np.ndarray:
    """uint8 (3, H, W) -> a tile (kH, kW, 3): each pixel becomes a square, the shorter side at least MIN_TILE px."""
    factor = max(1, -(-MIN_TILE // min(image.shape[1:])))
    return image.permute(1, 2, 0).cpu().numpy().repeat(factor, axis=0).repeat(factor, axis=1)


def _normalised(map_: Tensor, size: tuple[int, ...]) -> np.ndarray:
    """(H, W) -> min-max normalised, at the size of a tile; a constant map becomes 1: it attends everywhere."""
    low, high = float(map_.min()), float(map_.max())
    even = (map_.float() - low) / (high - low) if high > low else torch.ones_like(map_.float())
    return F.interpolate(even[None, None].cpu(), size=size, mode="bilinear", align_corners=False)[0, 0].numpy()


def soft_overlay(image: Tensor, map_: Tensor) -> np.ndarray:
    """The colour-coded map over the grey image; the colours span the map's own minimum (dark) to its own maximum."""
    tile = enlarge(image).astype(np.float32)
    m = _normalised(map_, tile.shape[:2])
    grey = tile @ LUMINANCE
    colour = COLOURS[(m * 255).astype(int)]
    return (0.4 * grey[:, :, None] + 0.6 * colour).clip(0, 255).astype(np.uint8)


def hard_overlay(image: Tensor, map_: Tensor) -> np.ndarray:
    """The image where the map is above Otsu's threshold; darkened grey elsewhere."""
    tile = enlarge(image).astype(np.float32)
    selected = _normalised(map_, tile.shape[:2]) >= float(otsu(map_[None].float())[0])
    grey = (tile @ LUMINANCE)[:, :, None]
    return np.where(selected[:, :, None], tile, 0.22 * grey).clip(0, 255).astype(np.uint8)


def outline_object(tile: np.ndarray, mask: Tensor | None) -> np.ndarray:
    """The tile with the outline of the object's mask (H, W) drawn on it; unchanged without a mask."""
    if mask is None or not bool(mask.any()):
        return tile
    factor = tile.shape[0] // mask.shape[0]
    inside = mask.cpu().numpy().repeat(factor, axis=0).repeat(factor, axis=1)
    edge = np.zeros_like(inside)
    for axis in (0, 1):
        edge |= inside & ~np.roll(inside, 1, axis) | inside & ~np.roll(inside, -1, axis)
    drawn = tile.copy()
    drawn[edge] = OUTLINE
    return drawn


def mosaic(rows: Sequence[Sequence[np.ndarray | None]]) -> np.ndarray:
    """Tiles of one size arranged in rows with white gaps; None leaves a place white."""
    height, width = next(tile.shape[:2] for row in rows for tile in row if tile is not None)
    columns = max(len(row) for row in rows)
    canvas = np.full((len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            if tile is not None:
                top, left = i * (height + GAP), j * (width + GAP)
                canvas[top : top + height, left : left + width] = tile
    return canvas
