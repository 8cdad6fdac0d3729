"""The 15 common corruptions at 5 severities, for whole batches on any device.

Source: Hendrycks & Dietterich 2019 (arXiv 1903.12261). Parameters and formulas are those of
hendrycks/robustness@8190fe3 ImageNet-C/create_c: make_cifar_c.py up to 64 pixels a side (CIFAR-10-C),
make_imagenet_c.py above (ImageNet-C). tests/reference/make_corruptions.py runs that code. With the same random numbers
our images differ from its images by at most one level of 255, except for:
- frost: the authors' photographs of ice are not shipped; a texture with their colours and contrasts is drawn instead.
- elastic_transform: up to 3 levels, since OpenCV samples the affine map at 1/32 of a pixel and ours is exact.

Other differences from the authors' code:
- all: each image has its own random numbers, drawn by torch; 1e-4 of a level is added before values are rounded down;
  images need not be square; ImageNet-C is stored as JPEG of quality 85, ours is not stored; images of 64 pixels use
  CIFAR's parameters, although there is a make_tinyimagenet_c.py.
- motion_blur, snow: the kernel of ImageMagick 6 (half a Gaussian along nearest pixels) is written in torch.
- fog: the plasma's side is the smallest power of two that covers the image; theirs is 32 or 256.
- elastic_transform: above 64 pixels, lengths are shares of the side; theirs are pixels of images of 224.
The same as in the authors' code: glass_blur copies pixels instead of swapping them (because of NumPy's views), and a
higher severity is not always more damage (glass_blur, motion_blur, frost, elastic_transform: see the tests).
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from attnlab.data.batches import generator
from attnlab.errors import ConfigError
from attnlab.evaluation.metrics.corruptions.blur import (
    defocus_blur,
    elastic_transform,
    glass_blur,
    motion_blur,
    truncate,
    zoom_blur,
)
from attnlab.evaluation.metrics.corruptions.draws import Draws
from attnlab.evaluation.metrics.corruptions.pixels import (
    brightness,
    contrast,
    gaussian_noise,
    impulse_noise,
    jpeg_compression,
    pixelate,
    shot_noise,
)
from attnlab.evaluation.metrics.corruptions.weather import fog, frost, snow

#: name -> function of (x (N, 3, H, W) in [0, 1], draws, *parameters of a severity) that returns x, not yet clamped
CORRUPTIONS: Mapping[str, Callable[..., Tensor]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
}
SMALL_SIDE = 64  # pixels; images up to this size use CIFAR's parameters

Parameters = tuple[Any, ...]


def _single(*values: float) -> tuple[Parameters, ...]:
    return tuple((value,) for value in values)


#: name -> the parameters of severities 1 to 5 up to SMALL_SIDE; the last one of frost, the needles' length, is ours
SMALL: Mapping[str, tuple[Parameters, ...]] = {
    "gaussian_noise": _single(0.04, 0.06, 0.08, 0.09, 0.10),
    "shot_noise": _single(500, 250, 100, 75, 50),
    "impulse_noise": _single(0.01, 0.02, 0.03, 0.05, 0.07),
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "frost": ((1, 0.2, 1), (1, 0.3, 1), (0.9, 0.4, 1), (0.85, 0.4, 1), (0.75, 0.45, 1)),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "brightness": _single(0.05, 0.1, 0.15, 0.2, 0.3),
    "contrast": _single(0.75, 0.5, 0.4, 0.3, 0.15),
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    "pixelate": _single(0.95, 0.9, 0.85, 0.75, 0.65),
    "jpeg_compression": _single(80, 65, 58, 50, 40),
}

_SIDE = 244 / 224  # 244 is a typing error in make_imagenet_c.py, which itself says that it does no harm
#: the same for images above SMALL_SIDE
LARGE: Mapping[str, tuple[Parameters, ...]] = {
    "gaussian_noise": _single(0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": _single(60, 25, 12, 5, 3),
    "impulse_noise": _single(0.03, 0.06, 0.09, 0.17, 0.27),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": ((1, 0.4, 5), (0.8, 0.6, 5), (0.7, 0.7, 5), (0.65, 0.7, 5), (0.6, 0.75, 5)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": _single(0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": _single(0.4, 0.3, 0.2, 0.1, 0.05),
    "elastic_transform": tuple(
        tuple(share * _SIDE for share in shares)
        for shares in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
    ),
    "pixelate": _single(0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": _single(25, 18, 15, 10, 7),
}


def corrupt(images: Tensor, name: str, severity: int, seed: int = 0) -> Tensor:
    """images uint8 (N, 3, H, W) -> corrupted images, uint8, of the same shape and on the same device.

    An image's random numbers depend only on the seed, the corruption, the severity and the image's pixels, so the
    result is the same in every batch. Raises ConfigError for an unknown name or a severity other than 1, ..., 5.
    """
    if name not in CORRUPTIONS:
        allowed = ", ".join(sorted(CORRUPTIONS, key=len))
        raise ConfigError(f"unknown choice corruption={name}; allowed are {allowed}")
    if isinstance(severity, bool) or severity not in (1, 2, 3, 4, 5):
        raise ConfigError(f"wrong value severity={severity}; allowed is 1, 2, 3, 4 or 5")
    if not len(images):
        return images.clone()
    place = list(CORRUPTIONS).index(name)
    digests = [zlib.crc32(image.numpy()) for image in images.cpu().contiguous()]
    # float64, since TF32 on a GPU would change levels; MPS has no float64
    x = images.to(torch.float32 if images.device.type == "mps" else torch.float64) / 255
    draws = Draws([generator(seed, place, severity, digest) for digest in digests], like=x)
    parameters = (SMALL if max(images.shape[2:]) <= SMALL_SIDE else LARGE)[name][severity - 1]
    corrupted = CORRUPTIONS[name](x, draws, *parameters)
    return (truncate(corrupted) * 255).round().to(torch.uint8)
