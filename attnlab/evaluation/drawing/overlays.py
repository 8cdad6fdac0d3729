"""Small pictures of maps over images, as arrays (H, W, 3) uint8: soft, hard, outlined, set side by side."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attnlab.evaluation.metrics.localisation import otsu

SIDE = 96  # px at least, of a tile
GAP = 6  # px between tiles
OUTLINE = np.array([0, 230, 255], dtype=np.uint8)
COLOURS = (np.asarray(matplotlib.colormaps["inferno"](np.linspace(0, 1, 256)))[:, :3] * 255).astype(np.float32)


def enlarged(image: Tensor) -> np.ndarray:
    """uint8 (3, H, W) -> (S, S', 3), each pixel a square, the shorter side SIDE px or more."""
    factor = max(1, -(-SIDE // min(image.shape[1:])))
    return image.permute(1, 2, 0).cpu().numpy().repeat(factor, axis=0).repeat(factor, axis=1)


def _normalised(map_: Tensor, size: tuple[int, ...]) -> np.ndarray:
    """(H, W) -> min-max normalised, at a tile's size; a constant map is 1, it attends to everything."""
    low, high = float(map_.min()), float(map_.max())
    even = (map_.float() - low) / (high - low) if high > low else torch.ones_like(map_.float())
    return F.interpolate(even[None, None].cpu(), size=size, mode="bilinear", align_corners=False)[0, 0].numpy()


def soft(image: Tensor, map_: Tensor) -> np.ndarray:
    """The map's colours, dark = low, over the grey image; each map from its own minimum to its own maximum."""
    tile = enlarged(image).astype(np.float32)
    m = _normalised(map_, tile.shape[:2])
    grey = tile @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    colour = COLOURS[(m * 255).astype(int)]
    return (0.4 * grey[:, :, None] + 0.6 * colour).clip(0, 255).astype(np.uint8)


def hard(image: Tensor, map_: Tensor) -> np.ndarray:
    """The image where the map is above Otsu's threshold, darkened elsewhere."""
    tile = enlarged(image).astype(np.float32)
    selected = _normalised(map_, tile.shape[:2]) >= float(otsu(map_[None].float())[0])
    grey = (tile @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[:, :, None]
    return np.where(selected[:, :, None], tile, 0.22 * grey).clip(0, 255).astype(np.uint8)


def outlined(tile: np.ndarray, mask: Tensor | None) -> np.ndarray:
    """The tile with the edge of the object's mask (H, W) drawn on it."""
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
    """Tiles of one size in rows, white between them; None stays white."""
    height, width = next(tile.shape[:2] for row in rows for tile in row if tile is not None)
    columns = max(len(row) for row in rows)
    whole = np.full((len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            if tile is not None:
                top, left = i * (height + GAP), j * (width + GAP)
                whole[top : top + height, left : left + width] = tile
    return whole
