"""Random erasing: a box of an image is set to 0, which is the mean colour of a normalised image.

Source: Zhong et al. 2020 (arXiv 1708.04896); areas and shapes are those of torchvision 0.28 RandomErasing. Here every
image of a batch has a box of its own.
"""

import math

import torch
from torch import Tensor

AREA = (0.02, 0.33)  # share of the image, uniform
SHAPE = (0.3, 3.3)  # height / width, its logarithm uniform
TRIES = 10  # of which the first box is taken that is smaller than the image
DRAWS = 1 + 2 * TRIES + 2  # uniform numbers that an image needs


def erase(x: Tensor, draws: Tensor, probability: float) -> Tensor:
    """x (B, C, H, W), float, with boxes of zeros; an image has one with this probability.

    draws: uniform (B, DRAWS): whether, the area and shape of each try, top and left.
    """
    height, width = x.shape[2:]
    area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * draws[:, 1 : 1 + TRIES])
    low, high = math.log(SHAPE[0]), math.log(SHAPE[1])
    shape = torch.exp(low + (high - low) * draws[:, 1 + TRIES : 1 + 2 * TRIES])
    tall, wide = (area * shape).sqrt().round(), (area / shape).sqrt().round()  # (B, TRIES)
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(dim=1, keepdim=True)
    tall, wide = tall.gather(1, first), wide.gather(1, first)
    erased = fits.any(dim=1, keepdim=True) & (draws[:, :1] < probability)
    top = (draws[:, -2:-1] * (height - tall + 1)).floor()
    left = (draws[:, -1:] * (width - wide + 1)).floor()
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    in_rows = (rows >= top) & (rows < top + tall) & erased  # (B, H)
    in_columns = (columns >= left) & (columns < left + wide)
    return x.masked_fill((in_rows.unsqueeze(2) & in_columns.unsqueeze(1)).unsqueeze(1), 0.0)
