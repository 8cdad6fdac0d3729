"""Encoded picture -> uint8 square: a random box in training, the centre in evaluation."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from attnlab.data.decode import image_of, pixels_of


def random_box(width: int, height: int, crop: Mapping[str, Any], seed: int) -> tuple[int, int, int, int]:
    """A box (left, top, right, bottom) of random area and aspect ratio (Szegedy et al. 2015).

    crop: {scale: [low, high] share of the area, ratio: [low, high] width / height}. As torchvision's RandomResizedCrop:
    ten tries, then the centre.
    """
    (low, high), (narrow, wide) = crop.get("scale", (0.08, 1.0)), crop.get("ratio", (3 / 4, 4 / 3))
    draw = np.random.default_rng(seed)
    for _ in range(10):
        area = width * height * draw.uniform(low, high)
        aspect = math.exp(draw.uniform(math.log(narrow), math.log(wide)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(draw.integers(0, width - w + 1)), int(draw.integers(0, height - h + 1))
            return left, top, left + w, top + h
    aspect = min(max(width / height, narrow), wide)
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def resized_crop(pixels: Tensor, box: tuple[int, int, int, int], size: int) -> Tensor:
    """Cut the box (left, top, right, bottom) out of uint8 (3, H, W), then resize it to (3, S, S).

    Bicubic and antialiased, rounded and clipped to uint8 after each direction, as in Pillow. A few pixels differ from
    Pillow's by 1/255.
    """
    left, top, right, bottom = box
    part = pixels[None, :, top:bottom, left:right].contiguous(memory_format=torch.channels_last)  # faster
    return F.interpolate(part, (size, size), mode="bicubic", antialias=True)[0].contiguous()


class Crops:
    """The square, uint8 (3, S, S), of one encoded picture.

    With draws (training) and `resized_crop`: a random box. Otherwise the centre by Pillow, as published weights were
    evaluated: the short side is resized to S / centre, and the central square of side S is cut out.
    """

    def __init__(self, image_size: int, centre: float, resized_crop: Mapping[str, Any] | None) -> None:
        self.image_size, self.centre, self.resized_crop = image_size, centre, resized_crop

    def __call__(self, data: bytes, name: str, draws: Sequence[float]) -> Tensor:
        """data: the encoded picture;  name: its name in error messages;  draws: the picture's own of this epoch, whose
        last one seeds the box. Raises DataError for a picture that cannot be read."""
        if draws and self.resized_crop:
            pixels = pixels_of(data, name)
            box = random_box(pixels.shape[2], pixels.shape[1], self.resized_crop, seed=int(draws[-1] * 2**53))
            return resized_crop(pixels, box, self.image_size)
        return self._centre(image_of(data, name))

    def _centre(self, picture: Image.Image) -> Tensor:
        side, size = min(picture.size) * min(1.0, self.centre), self.image_size
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        box = (left, top, left + side, top + side)
        picture = picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
