"""TrivialAugment and RandAugment on a batch: each image gets its own operation, strength and sign, all on the device.

trivial: one of 14 operations, its strength uniform over 31 levels (Mueller and Hutter 2021, arXiv 2103.10158, "wide")
rand: two of the operations in a row, each at level 9 of 0 to 30 (Cubuk et al. 2020, arXiv 1909.13719)
Operations and strengths are those of torchvision 0.28 transforms.v2 (TrivialAugmentWide, RandAugment), which draws once
for a batch. On a GPU every operation is computed for all images, so that no value is read on the host.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "colour", "contrast", "sharpness")
OPERATIONS = ("identity", *SIGNED, "posterize", "solarize", "autocontrast", "equalize")
NUMBER = {name: number for number, name in enumerate(OPERATIONS)}
LEVELS, LEVEL = 31, 9  # of strength; the level of RandAugment
DRAWS = {"trivial": 3, "rand": 4}  # uniform numbers that a policy needs for each image
GREY = (0.2989, 0.587, 0.114)  # torchvision's weights of red, green and blue


def trivial(images: Tensor, draws: Tensor) -> Tensor:
    """TrivialAugment. images: uint8 (B, 3, H, W);  draws: uniform (B, 3), of the operation, the level and the sign."""
    operation = (draws[:, 0] * len(OPERATIONS)).long()
    level = (draws[:, 1] * LEVELS).floor() / (LEVELS - 1)
    return apply(images, operation, level, draws[:, 2] < 0.5, _WIDE)


def rand(images: Tensor, draws: Tensor) -> Tensor:
    """RandAugment. images: uint8 (B, 3, H, W);  draws: uniform (B, 4), of the operation and the sign, twice."""
    for first in (0, 2):
        operation = (draws[:, first] * len(OPERATIONS)).long()
        level = torch.full_like(draws[:, 0], LEVEL / (LEVELS - 1))
        images = apply(images, operation, level, draws[:, first + 1] < 0.5, _NARROW)
    return images


POLICIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"trivial": trivial, "rand": rand}


def _wide(height: int, width: int) -> tuple[float, ...]:
    return 0.99, 0.99, 32.0, 32.0, 135.0, 0.99, 0.99, 0.99, 0.99


def _narrow(height: int, width: int) -> tuple[float, ...]:
    return 0.3, 0.3, 150 / 331 * width, 150 / 331 * height, 30.0, 0.9, 0.9, 0.9, 0.9


#: (the largest strengths of SIGNED for images of a size, the bits that the strongest posterize takes away)
Space = tuple[Callable[[int, int], tuple[float, ...]], int]
_WIDE: Space = (_wide, 6)
_NARROW: Space = (_narrow, 4)


def apply(images: Tensor, operation: Tensor, level: Tensor, negative: Tensor, space: Space) -> Tensor:
    """One operation for each image.

    images: uint8 (B, 3, H, W);  operation: (B,), numbers of OPERATIONS;  level: (B,), 0 to 1, the share of the largest
    strength;  negative: bool (B,), the sign of a signed strength.
    """
    largest, bits = space
    signs = torch.where(negative, -level, level)
    # (B, 9): the strength of the image's operation in its column, 0 in all others
    chosen = operation.view(-1, 1) == torch.arange(1, len(SIGNED) + 1, device=operation.device)
    strengths = torch.stack([signs * most for most in largest(*images.shape[2:])], dim=1) * chosen
    factor = 1 + strengths[:, 5:].sum(dim=1)
    is_moved = (operation >= NUMBER["shear_x"]) & (operation <= NUMBER["rotate"])
    found = _changed(images, is_moved, lambda x, rows: _moved(x, strengths[rows, :5]))
    changes = {
        "brightness": lambda x, rows: _blended(x, torch.zeros_like(x), factor[rows]),
        "colour": lambda x, rows: _blended(x, _grey(x), factor[rows]),
        "contrast": lambda x, rows: _blended(x, _grey(x).mean(dim=(1, 2, 3), keepdim=True), factor[rows]),
        "sharpness": lambda x, rows: _sharpened(x, factor[rows]),
        "posterize": lambda x, rows: _posterized(x, (level[rows] * bits).round().to(torch.uint8)),
        "solarize": lambda x, rows: torch.where(x >= 255 * (1 - level[rows]).view(-1, 1, 1, 1), 255 - x, x),
        "autocontrast": lambda x, rows: _stretched(x),
        "equalize": lambda x, rows: _equalized(x),
    }
    for name, change in changes.items():
        found = _changed(found, operation == NUMBER[name], change)
    return found


def _changed(images: Tensor, chosen: Tensor, change: Callable[[Tensor, Any], Tensor]) -> Tensor:
    """The images, and in place of the chosen ones what `change(images, their rows)` makes of them.

    On a CPU only the chosen ones are computed. A GPU computes all of them, since the host would wait for their number.
    """
    if images.device.type == "cpu":
        rows = chosen.nonzero().flatten()
        return images.index_copy(0, rows, change(images[rows], rows)) if len(rows) else images
    return torch.where(chosen.view(-1, 1, 1, 1), change(images, slice(None)), images)


def _moved(images: Tensor, strengths: Tensor) -> Tensor:
    """Sheared, translated or rotated images, nearest pixels, black outside. strengths: (B, 5), at most one not 0."""
    height, width = images.shape[2:]
    shear_x, shear_y, right, down, degrees = strengths.unbind(1)
    turn = torch.deg2rad(degrees)
    cos, sin = torch.cos(turn), torch.sin(turn)
    # Output pixel -> input pixel, from the middle of the image; a shear fixes the upper left corner, as torchvision's.
    theta = torch.stack(
        [
            torch.stack([cos, shear_x - sin, shear_x * height / 2 - right.trunc()], dim=1),
            torch.stack([shear_y + sin, cos, shear_y * width / 2 - down.trunc()], dim=1),
        ],
        dim=1,
    )
    x = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width, device=images.device)
    y = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height, device=images.device)
    places = torch.stack(
        [*torch.meshgrid(x, y, indexing="xy"), torch.ones(height, width, device=images.device)], dim=-1
    )
    half = torch.stack([theta[:, 0] / (0.5 * width), theta[:, 1] / (0.5 * height)], dim=2)  # (B, 3, 2)
    grid = places.view(1, -1, 3).expand(len(images), -1, -1).bmm(half).view(-1, height, width, 2)
    found = F.grid_sample(images.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return found.round().to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """(B, 1, H, W), float: whole numbers."""
    x = images.float()
    return (x[:, 0] * GREY[0] + x[:, 1] * GREY[1] + x[:, 2] * GREY[2]).floor().unsqueeze(1)


def _blended(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor * x + (1 - factor) * other. factor: (B,)."""
    share = factor.view(-1, 1, 1, 1)
    return (images * share + other * (1 - share)).clamp(0, 255).to(torch.uint8)


def _sharpened(images: Tensor, factor: Tensor) -> Tensor:
    """The blend with the smoothed image, whose border is that of the image.

    It is written as torchvision writes it, since another form of the sum is cut off to other whole numbers.
    """
    x = images.float()
    smooth = x.clone()
    smooth[..., 1:-1, 1:-1] = ((F.avg_pool2d(x, 3, 1) * 9 + 4 * x[..., 1:-1, 1:-1]) / 13).round()
    return (x + (1 - factor.view(-1, 1, 1, 1)) * (smooth - x)).clamp(0, 255).to(torch.uint8)


def _stretched(images: Tensor) -> Tensor:
    """Each channel from its darkest value at 0 to its brightest at 255: torchvision's autocontrast."""
    x = images.float()
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    step = torch.where(high > low, (high - low) * (1 / 255), 1.0)
    return ((x - torch.where(high > low, low, 0.0)) / step).clamp(0, 255).to(torch.uint8)


def _equalized(images: Tensor) -> Tensor:
    """torchvision's equalize, also with deterministic=true, under which torch refuses to count on a GPU.

    Counts are whole numbers, so the order in which they are added does not matter.
    """
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        return v2.equalize(images)
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warns)


def _posterized(images: Tensor, bits: Tensor) -> Tensor:
    """Images without their lowest `bits` (B,), uint8."""
    return (images >> bits.view(-1, 1, 1, 1)) << bits.view(-1, 1, 1, 1)
