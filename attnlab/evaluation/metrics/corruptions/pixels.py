"""The noises and the digital faults among the common corruptions.

x (N, 3, H, W) in [0, 1] -> the same shape. Sources and differences: __init__.py.
"""

import torch
from torch import Tensor
from torchvision.io import decode_jpeg, encode_jpeg

from attnlab.evaluation.metrics.corruptions.blur import truncate
from attnlab.evaluation.metrics.corruptions.draws import Draws


def gaussian_noise(x: Tensor, draws: Draws, sd: float) -> Tensor:
    """x + sd n, n standard normal, drawn for every entry."""
    return x + sd * draws.normal(*x.shape[1:])


def shot_noise(x: Tensor, draws: Draws, photons: float) -> Tensor:
    """n / photons, n a Poisson count with mean photons x."""
    return draws.poisson(x * photons) / photons


def impulse_noise(x: Tensor, draws: Draws, amount: float) -> Tensor:
    """Every entry becomes 0 or 1 with probability `amount`, both equally likely."""
    hit, salt = draws.uniform(0, 1, *x.shape[1:]) < amount, draws.uniform(0, 1, *x.shape[1:]) < 0.5
    return torch.where(hit, salt.to(x), x)


def brightness(x: Tensor, draws: Draws, amount: float) -> Tensor:
    """Add `amount` to the value of HSV, up to 1; hue and saturation do not change."""
    value = x.amax(1, keepdim=True)
    brighter = (value + amount).clamp(max=1)
    return torch.where(value > 0, x * brighter / value.clamp_min(1e-6), brighter)


def contrast(x: Tensor, draws: Draws, factor: float) -> Tensor:
    """mean + factor (x - mean), mean: of each channel of an image."""
    mean = x.mean((2, 3), keepdim=True)
    return mean + factor * (x - mean)


def box_matrix(size: int, new_size: int) -> Tensor:
    """(new_size, size) matrix of Pillow's BOX filter: the mean of the pixels whose centres a new pixel covers."""
    scale = size / new_size
    centres = (torch.arange(new_size, dtype=torch.float64) + 0.5) * scale
    distance = (torch.arange(size, dtype=torch.float64) + 0.5 - centres[:, None]) / max(scale, 1)
    inside = ((distance > -0.5) & (distance <= 0.5)).double()
    return inside / inside.sum(1, keepdim=True)


def pixelate(x: Tensor, draws: Draws, factor: float) -> Tensor:
    """Shrink to `factor` of the size and enlarge again, both with the BOX filter; each pass rounds halves up."""
    height, width = x.shape[2:]
    small = (int(height * factor), int(width * factor))
    for rows, columns in (((height, small[0]), (width, small[1])), ((small[0], height), (small[1], width))):
        x = truncate(x @ box_matrix(*columns).to(x).T + 0.5 / 255)
        x = truncate(box_matrix(*rows).to(x) @ x + 0.5 / 255)
    return x


def jpeg_compression(x: Tensor, draws: Draws, quality: int) -> Tensor:
    """Encode and decode as JPEG of this quality (libjpeg's scale), with chroma at half the resolution."""
    images = (x * 255).round().to(torch.uint8).cpu()
    return torch.stack([decode_jpeg(encode_jpeg(image, quality=quality)) for image in images]).to(x) / 255
