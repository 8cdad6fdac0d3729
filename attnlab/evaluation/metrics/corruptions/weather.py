"""The weather effects among the common corruptions: snow, frost, fog.

x (N, 3, H, W) in [0, 1] -> the same shape. Sources and differences: __init__.py.
"""

import torch
from torch import Tensor

from attnlab.evaluation.metrics.corruptions.blur import clipped_zoom, directional_blur, truncate
from attnlab.evaluation.metrics.corruptions.draws import Draws

#: (mean colour, sd within a crop, sd between crops' means), in levels of 255 at CIFAR's scale, of the five photographs
#: of the authors' code; the third is a copy of the second
ICE = (
    ((78, 149, 166), 14, 10),
    ((201, 205, 214), 18, 9),
    ((201, 205, 214), 18, 9),
    ((138, 153, 166), 26, 10),
    ((112, 123, 135), 35, 16),
)


def snow(
    x: Tensor, draws: Draws, mean: float, sd: float, zoom: float, threshold: float, radius: float, sigma: float,
    clear: float,
) -> Tensor:  # fmt: skip
    """Whiten, then add flakes: magnified normal noise above `threshold`, blurred downwards, and their copy turned 180°.

    clear: the weight of the image; the larger of the image and 1.5 grey + 0.5 has the weight 1 - clear.
    """
    flakes = clipped_zoom(mean + sd * draws.normal(1, *x.shape[2:]), zoom)
    flakes = truncate(torch.where(flakes < threshold, 0, flakes))
    flakes = truncate(directional_blur(flakes, radius, sigma, draws.uniform(-135, -45)))
    grey = (x * x.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    white = clear * x + (1 - clear) * torch.maximum(x, grey * 1.5 + 0.5)
    return white + flakes + flakes.flip(2, 3)


def ice(draws: Draws, height: int, width: int, needle: int) -> Tensor:
    """A frost texture (N, 3, H, W) in [0, 1]: fractal noise and needles in three directions, with colours of ICE."""
    slow = plasma(draws, max(height, width), 1.3)[:, :, :height, :width]
    margin = 2 * needle  # within this distance directional_blur repeats edge pixels
    layers = []
    for _ in range(3):
        noise = draws.normal(1, height + 2 * margin, width + 2 * margin)
        layers.append(directional_blur(noise, needle, needle, draws.uniform(0, 360)))
    needles = torch.stack(layers).amax(0)[:, :, margin : margin + height, margin : margin + width]
    texture = _standard(_standard(slow) + _standard(needles))
    colours, within, between = (slow.new_tensor(column).view(len(ICE), -1, 1, 1) for column in zip(*ICE, strict=True))
    kind = draws.integers(0, len(ICE))
    levels = colours[kind] + within[kind] * texture + between[kind] * draws.normal(1, 1, 1)
    return (levels / 255).clamp(0, 1)


def _standard(x: Tensor) -> Tensor:
    """Scale each image to mean 0 and standard deviation 1."""
    return (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)


def frost(x: Tensor, draws: Draws, clear: float, frozen: float, needle: int) -> Tensor:
    """clear x + frozen ice; `needle`: length of the ice crystals in pixels, about."""
    return clear * x + frozen * ice(draws, x.shape[2], x.shape[3], needle)


def plasma(draws: Draws, least: int, decay: float) -> Tensor:
    """Fractal heights (N, 1, S, S) in [0, 1] by the diamond-square algorithm; S: the least power of two >= `least`.

    Each halving of the step adds a uniform number from +-wibble^2 and divides wibble by `decay`; the map is periodic.
    """
    size = 1 << (least - 1).bit_length()
    heights = draws.like.new_zeros(len(draws), size, size)
    step, wibble = size, 100.0
    while step >= 2:
        half, count = step // 2, size // step
        corners = heights[:, ::step, ::step]
        square = corners + corners.roll(-1, 1)
        square = square + square.roll(-1, 2)
        centres = square / 4 + wibble * draws.uniform(-wibble, wibble, count, count)
        heights[:, half::step, half::step] = centres
        across = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        heights[:, ::step, half::step] = across / 4 + wibble * draws.uniform(-wibble, wibble, count, count)
        down = centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        heights[:, half::step, ::step] = down / 4 + wibble * draws.uniform(-wibble, wibble, count, count)
        step, wibble = half, wibble / decay
    heights = heights - heights.amin((1, 2), keepdim=True)
    return (heights / heights.amax((1, 2), keepdim=True))[:, None]


def fog(x: Tensor, draws: Draws, amount: float, decay: float) -> Tensor:
    """(x + amount plasma) m / (m + amount), m: the largest entry of the image."""
    largest = x.amax((1, 2, 3), keepdim=True)
    mist = plasma(draws, max(x.shape[2:]), decay)[:, :, : x.shape[2], : x.shape[3]]
    return (x + amount * mist) * largest / (largest + amount)
