"""The blurs among the common corruptions, and elastic_transform.

x (N, C, H, W) in [0, 1] -> the same shape; lengths in pixels. Sources and differences: __init__.py.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attnlab.evaluation.metrics.corruptions.draws import Draws


def truncate(x: Tensor) -> Tensor:
    """Round [0, 1] down to the 256 levels, as numpy.uint8 does; 1e-4 of a level is added against round-off."""
    return (x.clamp(0, 1) * 255 + 1e-4).floor() / 255


def defocus_blur(x: Tensor, draws: Draws, radius: float, sigma: float) -> Tensor:
    """Convolve with a disk of `radius`, blurred by a Gaussian of `sigma` on 3x3 pixels (5x5 above radius 8)."""
    half, margin = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    axis = torch.arange(-half, half + 1, dtype=torch.float64)
    disk = (axis**2 + axis[:, None] ** 2 <= radius**2).double()
    soft = torch.exp(-(torch.arange(-margin, margin + 1, dtype=torch.float64) ** 2) / (2 * sigma**2))
    soft = torch.outer(soft, soft) / soft.sum() ** 2
    kernel = F.conv2d(F.pad(disk[None, None] / disk.sum(), [margin] * 4, mode="reflect"), soft[None, None])
    reach = min(half, math.floor(radius) + margin)  # beyond it the kernel is 0
    padded, blurred = F.pad(x, [reach] * 4, mode="reflect"), torch.zeros_like(x)
    for dy, dx in (kernel[0, 0] > 0).nonzero().tolist():  # faster than conv2d on a CPU
        top, left = dy + reach - half, dx + reach - half
        window = padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        blurred.add_(window, alpha=float(kernel[0, 0, dy, dx]))
    return blurred


def gaussian_matrix(size: int, sigma: float, cutoff: float, mirror: bool) -> Tensor:
    """(size, size) matrix that blurs a column by a Gaussian cut off at `cutoff` sigma.

    mirror: whether the column is mirrored beyond its ends, d c b a | a b c d; otherwise its end values repeat.
    """
    radius = int(cutoff * sigma + 0.5)
    if radius == 0:
        return torch.eye(size, dtype=torch.float64)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
    source = torch.arange(size)[:, None] + offsets
    if mirror:
        source = source % (2 * size)
        source = torch.minimum(source, 2 * size - 1 - source)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.scatter_add_(1, source.clamp(0, size - 1), (weights / weights.sum()).expand(size, -1))
    return matrix


def gaussian_blur(x: Tensor, sigma: float, cutoff: float = 4, mirror: bool = False) -> Tensor:
    """Blur the last two axes by a Gaussian; see `gaussian_matrix` for the edges."""
    rows, columns = (gaussian_matrix(size, sigma, cutoff, mirror).to(x) for size in x.shape[-2:])
    return rows @ x @ columns.T


def glass_blur(x: Tensor, draws: Draws, sigma: float, reach: int, rounds: int) -> Tensor:
    """Blur, replace every pixel by a random one within `reach`, `rounds` times, and blur again."""
    x = truncate(gaussian_blur(x, sigma))
    height, width = x.shape[2:]
    inner = (height - 2 * reach, width - 2 * reach)
    offsets = draws.integers(-reach, reach, rounds, *inner, 2).flip(2, 3)  # the first number is for the last pixel
    place = torch.arange(height * width, device=x.device).view(height, width)
    window = place[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1]
    for dx, dy in (offsets[:, k].unbind(-1) for k in range(rounds)):
        target = window + dy * width + dx
        # The authors replace in place from the last pixel to the first, so a later target has already been replaced.
        # Nodes 0 ... HW-1 are the pixels before, HW ... 2HW-1 those after; following all links gives each source.
        after = place.expand(len(x), -1, -1).clone()
        after[:, reach + 1 : height - reach + 1, reach + 1 : width - reach + 1] = torch.where(
            target > window, target + height * width, target
        )
        links = torch.cat((place.flatten().expand(len(x), -1), after.flatten(1)), dim=1)
        while not torch.equal(further := links.gather(1, links), links):
            links = further
        source = links[:, None, height * width :].expand(-1, x.shape[1], -1)
        x = x.flatten(2).gather(2, source).view_as(x)
    return gaussian_blur(x, sigma)


def directional_blur(x: Tensor, radius: float, sigma: float, angles: Tensor) -> Tensor:
    """Weighted mean of each image along a ray at its angle (N,) in degrees, half a Gaussian; edge pixels repeat.

    y(p) = sum over k = 0 ... 2 radius of exp(-k^2 / 2 sigma^2) x(p + k (cos, sin)) / sum of weights, nearest pixels.
    """
    height, width = x.shape[2:]
    steps = torch.arange(2 * math.ceil(radius) + 1, device=x.device)
    weights = torch.exp(-(steps.to(x) ** 2) / (2 * sigma**2))
    weights = weights / weights.sum()
    angle = torch.deg2rad(angles)
    rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
    blurred, flat = torch.zeros_like(x), x.flatten(2)
    for k, weight in enumerate(weights.tolist()):
        down, right = (torch.ceil(k * part - 0.5).long()[:, None] for part in (angle.sin(), angle.cos()))
        row, column = (rows + down).clamp(0, height - 1), (columns + right).clamp(0, width - 1)
        source = (row[:, :, None] * width + column[:, None]).flatten(1)  # (N, HW)
        blurred += weight * flat.gather(2, source[:, None].expand(-1, x.shape[1], -1)).view_as(x)
    return blurred


def motion_blur(x: Tensor, draws: Draws, radius: float, sigma: float) -> Tensor:
    """Blur along a random direction within 45 degrees of the horizontal."""
    return directional_blur(x, radius, sigma, draws.uniform(-45, 45))


def clipped_zoom(x: Tensor, factor: float) -> Tensor:
    """Magnify the middle bilinearly to at least the old size, and crop to the old size."""
    height, width = x.shape[2:]
    kept = [math.ceil(size / factor) for size in (height, width)]
    top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
    size = [round(side * factor) for side in kept]
    zoomed = F.interpolate(
        x[:, :, top : top + kept[0], left : left + kept[1]], size, mode="bilinear", align_corners=True
    )
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return zoomed[:, :, top : top + height, left : left + width]


def zoom_blur(x: Tensor, draws: Draws, end: float, step: float) -> Tensor:
    """Mean of the image and of its magnifications by 1, 1 + step, 1 + 2 step, ... before `end`."""
    factors = np.arange(1, end, step).tolist()  # NumPy's round-off decides whether 26 * 1.25 becomes 32 or 33 pixels
    return sum((clipped_zoom(x, factor) for factor in factors), x) / (len(factors) + 1)


def elastic_transform(x: Tensor, draws: Draws, alpha: float, sigma: float, affine: float) -> Tensor:
    """A random affine map, then displacements of up to `alpha`, smoothed by a Gaussian of `sigma`.

    The three parameters are shares of the shorter side. The affine map moves three points by up to `affine`, uniformly.
    """
    height, width = x.shape[2:]
    side = min(height, width)
    offset = x.new_tensor([[1, 1], [1, -1], [-1, -1]]) * (side // 3)
    before = x.new_tensor([width // 2, height // 2]) + offset  # (3, 2), x and y
    after = before + draws.uniform(-affine * side, affine * side, 3, 2)
    inverse = torch.linalg.solve(F.pad(after, (0, 1), value=1.0), before.expand_as(after))  # (N, 3, 2)
    rows, columns = (torch.arange(size, device=x.device, dtype=x.dtype) for size in (height, width))
    grid = torch.stack((columns.expand(height, -1), rows[:, None].expand(-1, width)), dim=-1)  # (H, W, 2), x and y
    source = (F.pad(grid, (0, 1), value=1.0).view(1, -1, 3) @ inverse).view(-1, height, width, 2)
    size = x.new_tensor([width, height])
    x = F.grid_sample(x, 2 * source / (size - 1) - 1, padding_mode="reflection", align_corners=True)
    shifts = [gaussian_blur(draws.uniform(-1, 1, height, width), sigma * side, 3, mirror=True) for _ in range(2)]
    source = grid + alpha * side * torch.stack(shifts, dim=-1)
    return F.grid_sample(x, (2 * source + 1) / size - 1, padding_mode="reflection", align_corners=False)
