"""Normalisation and augmentation of batches on the network's device, with random numbers of each image's own.

`draws` (B, DRAWS) are uniform in [0, 1). An image's draws depend on the epoch and not on its batch or rank.
The steps are: normalise; shift; pad, and crop the old size at a random place (He et al. 2016, section 4.2); mirror half
of the images. A crop is a window of the padded image or of its mirror image, so crop and mirror are one copy of rows.
Rows are copied as bytes unless there is a shift. No value is read on the host, so the host never waits for a GPU.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlab.errors import ConfigError

DRAWS = 5  # flip; crop y, x; shift y, x
CACHED = 2**19  # float32 values that fit into a CPU core's cache: larger batches are normalised in parts


def window_rows(draws: Tensor, shape: torch.Size, padding: int, mirrored: bool) -> Tensor:
    """(B, C, H): the pixel at which each row of each output image starts in its `bordered` image.

    A crop starts 0 to 2 * padding pixels down and to the right. With `mirrored` half of the crops are mirrored: the
    mirror image of the window at column x is the window at column 2 * padding - x of the mirror image.
    """
    channels, height, width = shape[-3:]
    tall, wide = height + 2 * padding, width + 2 * padding
    top, left = (draws[:, 1:3] * (2 * padding + 1)).long().unbind(1)
    if mirrored:
        left = torch.where(draws[:, 0] < 0.5, channels * tall * wide + 2 * padding - left, left)
    plane = torch.arange(channels, device=draws.device).view(-1, 1) * tall
    row = plane + torch.arange(height, device=draws.device) + top.view(-1, 1, 1)
    return row * wide + left.view(-1, 1, 1)


def bordered(images: Tensor, padding: int, mirrored: bool, fill: Tensor | None = None) -> Tensor:
    """Images with a border: (B, 1, C, H + 2 * padding, W + 2 * padding).

    mirrored: add the mirror images, (B, 2, ...);  fill: value of the border for each channel (C,); None = 0.
    """
    if not padding:
        return torch.stack([images, images.flip(-1)], dim=1) if mirrored else images.unsqueeze(1)
    batch, channels, height, width = images.shape
    shape = (batch, 2 if mirrored else 1, channels, height + 2 * padding, width + 2 * padding)
    found = images.new_zeros(shape) if fill is None else fill.to(images).view(-1, 1, 1).expand(shape).contiguous()
    middle = found[..., padding : padding + height, padding : padding + width]
    middle[:, 0] = images
    if mirrored:
        middle[:, 1] = images.flip(-1)
    return found


def windows(images: Tensor, rows: Tensor, width: int) -> Tensor:
    """The windows (B, C, H, W) whose rows start at `rows` (B, C, H) in `bordered` images (B, ...), or in a single one.

    The pixels of a row lie side by side in memory, so each row is one copy.
    """
    each = images[0].numel()
    starts = rows + torch.arange(0, images.numel(), each, device=rows.device).view(-1, 1, 1)
    pieces = images.view(-1).unfold(0, width, 1)  # (pixels, W): a view, every piece of W pixels
    return pieces.index_select(0, starts.flatten()).view(*rows.shape, width)


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

    normalize: `channel` (x/255 - mean_c) / sd_c;  `mean` x/255 - mean_c;  `mean_image` x/255 - mean image;
    `scale` x/255.
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
            raise ConfigError(
                f"wrong value recipe.augment.crop_fill={fill}; allowed are mean (0 after normalising), black"
            )
        black = (torch.zeros_like(self.mean) - self.mean) / self.sd
        self.fill = black.mean(dim=(1, 2)) if fill == "black" else torch.zeros(len(self.mean))
        # Mean to subtract from the border's pixels, which are 0, so that they become `fill`.
        self.border = self.mean.mean(dim=(1, 2)) if fill == "black" else torch.zeros(len(self.mean))
        everywhere = self.mean.shape[1:] == (1, 1)
        self.mean_moves = not everywhere or (self.crop > 0 and not torch.equal(self.mean.flatten(), self.border))

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
        by_sd = normalize == "channel"
        if normalize in ("channel", "mean") and mean is not None and sd is not None:
            return torch.tensor(mean).view(3, 1, 1), torch.tensor(sd).view(3, 1, 1) if by_sd else ones
        if normalize in ("channel", "mean") and images is not None:
            counts = torch.stack([torch.bincount(images[:, c].flatten(), minlength=256) for c in range(3)]).double()
            values, total = torch.arange(256, dtype=torch.float64) / 255, counts.sum(dim=1)
            average = (counts * values).sum(dim=1) / total
            spread = ((counts * values**2).sum(dim=1) / total - average**2).sqrt()
            return average.float().view(3, 1, 1), spread.clamp_min(1e-6).float().view(3, 1, 1) if by_sd else ones
        allowed = "channel, mean, scale" if images is None else "channel, mean, mean_image, scale"
        raise ConfigError(f"wrong value recipe.normalize={normalize}; allowed are {allowed}")

    def __call__(self, images: Tensor, draws: Tensor | None = None) -> Tensor:
        """Normalise; with `draws` (B, DRAWS) augment as well."""
        if self.mean.device != images.device:  # only once, since each copy makes the host wait for the GPU
            for name in ("mean", "sd", "fill", "border"):
                setattr(self, name, getattr(self, name).to(images.device))
        if images.device.type != "cpu" or images.numel() <= CACHED:
            return self._preprocess(images, draws)
        found, few = torch.empty(images.shape), max(1, CACHED // images[0].numel())
        for start in range(0, len(images), few):
            part = slice(start, start + few)
            found[part] = self._preprocess(images[part], None if draws is None else draws[part])
        return found

    def _preprocess(self, images: Tensor, draws: Tensor | None) -> Tensor:
        if draws is None or not (self.crop or self.flip or self.shift):
            return images.float().div_(255).sub_(self.mean).div_(self.sd)
        rows, width = window_rows(draws, images.shape, self.crop, self.flip), images.shape[-1]
        if self.shift:
            x = shift(images.float().div_(255).sub_(self.mean).div_(self.sd), draws, self.shift)
            return windows(bordered(x, self.crop, self.flip, self.fill), rows, width)
        x = windows(bordered(images, self.crop, self.flip), rows, width).float().div_(255)
        mean = self.mean
        if self.mean_moves:  # it is cropped and mirrored like its image
            image = mean.expand(images.shape[1:]).unsqueeze(0)
            mean = windows(bordered(image, self.crop, self.flip, self.border), rows, width)
        return x.sub_(mean).div_(self.sd)
