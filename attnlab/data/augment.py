"""Augmentation and normalisation of whole batches, one draw per image.

Every function takes images (B, C, H, W), already normalised, and `draws` (B, DRAWS), uniform in [0, 1): the draws of
one image in one epoch, the same whichever batch or rank the image comes in.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlab.errors import ConfigError

DRAWS = 5  # flip; crop y, x; shift y, x


def flip(images: Tensor, draws: Tensor) -> Tensor:
    """Mirror each image left to right with probability 1/2."""
    return torch.where(draws[:, 0, None, None, None] < 0.5, images.flip(-1), images)


def crop(images: Tensor, draws: Tensor, padding: int, fill: Tensor) -> Tensor:
    """Pad by `padding` pixels of `fill` (C,), then cut the old size out anywhere (He et al. 2016, section 4.2)."""
    batch, channels, height, width = images.shape
    padded = fill.to(images).view(1, -1, 1, 1).expand(batch, -1, height + 2 * padding, width + 2 * padding).clone()
    padded[:, :, padding : padding + height, padding : padding + width] = images
    offsets = (draws[:, 1:3] * (2 * padding + 1)).long()  # (B, 2)
    rows = offsets[:, :1] + torch.arange(height, device=images.device)  # (B, H)
    columns = offsets[:, 1:] + torch.arange(width, device=images.device)  # (B, W)
    flat = (rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]).view(batch, 1, -1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, flat).view(batch, channels, height, width)


def shift(images: Tensor, draws: Tensor, fraction: float) -> Tensor:
    """Move by up to +-`fraction` of height and width, continuously (bilinear), edge pixels repeated: Keras'
    width_shift_range and height_shift_range, firasl/inverse_attention@8c9a08c main_cifar.py."""
    batch = len(images)
    theta = torch.zeros(batch, 2, 3, device=images.device, dtype=images.dtype)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, :, 2] = (draws[:, 3:5].flip(1) * 2 - 1).to(images) * 2 * fraction  # the grid spans [-1, 1]: 2 is the width
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


class Preprocess:
    """uint8 images (B, C, H, W) -> normalised, augmented float32 images.

    normalize: `channel` (x/255 - mean_c) / sd_c;  `mean_image` x/255 - mean image;  `scale` x/255.
    Statistics come from `images`, the training part, unless mean and sd (3 numbers each, of x/255) are given.
    augment: {flip: bool, crop: pixels, crop_fill: mean | black, shift: fraction}; null or 0 = not used.
    """

    def __init__(
        self,
        normalize: str,
        augment: Mapping[str, Any] | None,
        images: Tensor | None = None,
        mean: list[float] | None = None,
        sd: list[float] | None = None,
    ) -> None:
        settings = {name: value for name, value in (augment or {}).items() if value}
        if unknown := settings.keys() - {"flip", "crop", "crop_fill", "shift"}:
            raise ConfigError(
                f"recipe.augment.{min(unknown)}: this dataset has no such augmentation; "
                f"allowed are crop, crop_fill, flip, shift"
            )
        self.flip = bool(settings.get("flip", False))
        self.crop = int(settings.get("crop", 0))
        self.shift = float(settings.get("shift", 0))
        self.mean, self.sd = self._statistics(normalize, images, mean, sd)
        fill = settings.get("crop_fill", "mean")
        if fill not in ("mean", "black"):
            raise ConfigError(f"recipe.augment.crop_fill={fill}: allowed are mean (0 after normalising), black")
        black = (torch.zeros_like(self.mean) - self.mean) / self.sd
        self.fill = black.mean(dim=(1, 2)) if fill == "black" else torch.zeros(len(self.mean))

    @staticmethod
    def _statistics(
        normalize: str, images: Tensor | None, mean: list[float] | None, sd: list[float] | None
    ) -> tuple[Tensor, Tensor]:
        ones = torch.ones(3, 1, 1)
        if normalize == "scale":
            return torch.zeros(3, 1, 1), ones
        if normalize == "mean_image" and images is not None:
            total = torch.zeros(images.shape[1:], dtype=torch.int64)
            for part in images.split(4096):
                total += part.sum(dim=0, dtype=torch.int64)
            return (total / (255 * len(images))).float(), ones
        if normalize == "channel" and mean is not None and sd is not None:
            return torch.tensor(mean).view(3, 1, 1), torch.tensor(sd).view(3, 1, 1)
        if normalize == "channel" and images is not None:
            counts = torch.stack([torch.bincount(images[:, c].flatten(), minlength=256) for c in range(3)]).double()
            values, total = torch.arange(256, dtype=torch.float64) / 255, counts.sum(dim=1)
            average = (counts * values).sum(dim=1) / total
            spread = ((counts * values**2).sum(dim=1) / total - average**2).sqrt()
            return average.float().view(3, 1, 1), spread.clamp_min(1e-6).float().view(3, 1, 1)
        allowed = "channel, scale" if images is None else "channel, mean_image, scale"
        raise ConfigError(f"recipe.normalize={normalize}: allowed are {allowed}")

    def __call__(self, images: Tensor, draws: Tensor | None = None) -> Tensor:
        """Normalise; with `draws` (B, DRAWS) augment as well."""
        mean, sd = self.mean.to(images.device), self.sd.to(images.device)
        x = images.float().div_(255).sub_(mean).div_(sd)
        if draws is None:
            return x
        if self.shift:
            x = shift(x, draws, self.shift)
        if self.crop:
            x = crop(x, draws, self.crop, self.fill)
        if self.flip:
            x = flip(x, draws)
        return x
