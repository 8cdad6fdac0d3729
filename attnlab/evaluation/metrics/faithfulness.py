"""Does the prediction depend on the attended pixels? Remove pixels in the map's order and follow the probability.

In all functions: predict maps normalised images (B, 3, H, W) to probabilities (B, classes) and is called without
gradients on all images at once; images (N, 3, H, W), normalised, so that 0 is the mean; maps (N, H, W), finite, high =
attended; classes (N,), int64: the classes whose probabilities are followed. Pixels with equal values in a map are
removed in one random order, drawn from the seed and the same for all images, so an image's score does not depend on the
other images. Scores are (N,), float64. ValueError: shapes, types or values other than these.
"""

from collections.abc import Callable, Sequence
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlab.data.batches import generator

Predict = Callable[[Tensor], Tensor]

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NOISE = 0.01
#: pixels imputed at once on a CPU, so that they fit into its cache; other devices impute all images at once
CPU_PIXELS = 32_768


def deletion(predict: Predict, images: Tensor, maps: Tensor, classes: Tensor, steps: int = 16, seed: int = 0) -> Tensor:
    """Area under the curve of the class's probability while pixels are set to 0, highest map value first; low is good.

    The curve is over the share of removed pixels, from 0 to 1 in `steps` equal steps; its area is by the trapezoidal
    rule. The reference value is the score of a random map. Petsiuk et al. 2018 (RISE, arXiv 1806.07421).
    """
    _check(images, maps, classes)
    return _area(predict, images, torch.zeros_like(images), pixel_places(maps, seed), classes, steps)


def insertion(
    predict: Predict,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    steps: int = 16,
    seed: int = 0,
    blur: float = 1 / 8,
) -> Tensor:
    """As deletion, while the image's pixels are put into a blurred copy of it, highest map value first; high is good.

    blur: sigma of the Gaussian, as a share of the image's shorter side. RISE blurs images of 224 pixels with sigma 5 in
    a window of 11. In proportion, that is less than one pixel of CIFAR's 32, which hides nothing. A Gaussian of sigma s
    keeps exp(-2 (pi f s)^2) of a wave with f cycles across the image. s = 1/8 keeps 29 % of 2 cycles, 6 % of 3 and
    less than 1 % of 4: the coarse colours, but no parts of the object, at any image size.
    """
    _check(images, maps, classes)
    return _area(predict, blur_images(images, blur), images, pixel_places(maps, seed), classes, steps)


def road(
    predict: Predict,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    noise: float = NOISE,
) -> dict[str, Tensor]:
    """ROAD: {"morf", "lerf"}, the class's probability after removing and imputing pixels, averaged over the shares.

    morf: the most relevant pixels are removed first, lerf: the least relevant first. The score is lerf - morf; high is
    good, and a constant map scores 0. round(share H W) pixels are removed. Rong et al. 2022 (arXiv 2202.00449).
    ValueError: also for a share outside (0, 1).
    """
    _check(images, maps, classes)
    if not shares or not all(0 < share < 1 for share in shares):
        raise ValueError(f"wrong value shares={list(shares)}; allowed are numbers between 0 and 1")
    means = {}
    # Ties keep their order in both directions, so that a constant map removes the same pixels and scores 0.
    for name, place in (("morf", pixel_places(maps, seed)), ("lerf", pixel_places(-maps, seed))):
        curve = [
            _probability(predict, impute(images, place < round(share * maps[0].numel()), seed, noise), classes)
            for share in shares
        ]
        means[name] = torch.stack(curve, dim=1).mean(dim=1)
    return means


def pixel_places(maps: Tensor, seed: int = 0) -> Tensor:
    """Place of each pixel by its value in its map, (N, H, W), int64; 0 is the highest; ties are in one random order."""
    flat = maps.flatten(1)
    shuffled = torch.randperm(flat.shape[1], generator=generator(seed, 0)).to(maps.device)
    order = shuffled[flat[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(flat.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(maps.shape)


def blur_images(images: Tensor, share: float) -> Tensor:
    """Gaussian blur; sigma: a share of the shorter side, cut off at 3 sigma; the image is mirrored at its borders."""
    sigma = share * min(images.shape[-2:])
    radius = ceil(3 * sigma)
    if not 0 < radius < min(images.shape[-2:]):
        raise ValueError(
            f"wrong value blur={share}; allowed is more than 0, 3 sigma within the image {tuple(images.shape[-2:])}"
        )
    taps = torch.exp(-(torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device) ** 2) / 2 / sigma**2)

    def along(size: int) -> Tensor:
        """(size, size) matrix that blurs one axis: column i holds the weights of all pixels in pixel i."""
        pixels = torch.eye(size, dtype=images.dtype, device=images.device)
        mirrored = F.pad(pixels[None], (radius, radius), mode="reflect")[0]
        return mirrored.unfold(1, 2 * radius + 1, 1) @ (taps / taps.sum())

    return along(images.shape[-2]).T @ images @ along(images.shape[-1])


def impute(images: Tensor, removed: Tensor, seed: int = 0, noise: float = NOISE, tolerance: float = 1e-5) -> Tensor:
    """Noisy linear imputation: every removed pixel is the weighted mean of its neighbours, plus Gaussian noise.

    removed: (N, H, W), bool. The four direct neighbours have weight 1/6, the four diagonal ones 1/12, whether they are
    removed or not; at the border the weights of the existing neighbours are scaled up to the sum 1. This gives one
    linear system per image, solved until the residual is `tolerance` times the initial one. noise: standard deviation
    of the noise, one value per pixel and channel, drawn from the seed, the same for all images. An image without any
    remaining pixel becomes 0, the mean. Rong et al. 2022; borders as in their code (tleemann/road_evaluation
    imputations.py) and in pytorch-grad-cam.
    """
    if removed.dtype != torch.bool or removed.shape != (len(images), *images.shape[-2:]):
        raise ValueError(f"wrong mask: removed {tuple(removed.shape)} of {removed.dtype}; allowed is bool (N, H, W)")
    size = max(1, CPU_PIXELS // removed[:1].numel()) if images.is_cpu else max(1, len(images))
    parts = zip(images.split(size), removed.split(size), strict=True)
    filled = torch.cat([_solve(part, gap[:, None], tolerance) for part, gap in parts])
    grain = noise * torch.randn(images.shape[1:], generator=generator(seed, 1), dtype=torch.float64)
    return torch.where(removed[:, None], filled + grain.to(images), images)


def _solve(images: Tensor, gap: Tensor, tolerance: float) -> Tensor:
    """Solve (D - S) x = S known on the gap (N, 1, H, W); S: the weighted sum over the neighbours, D: S's weights.

    By conjugate gradients: the matrix is symmetric, and positive definite if the image has a known pixel. A solved
    image is not changed any more, so that its values do not depend on the other images.
    """
    inside = gap.to(images)
    weight = _neighbours(torch.ones_like(inside))
    x = torch.zeros_like(images)
    residual = _neighbours(images * ~gap) * inside
    direction = residual.clone()
    size = residual.square().sum(dim=(2, 3), keepdim=True)
    enough = tolerance**2 * size
    for _ in range(gap[0].numel()):
        active = size > enough
        if not active.any():
            break
        image = (weight * direction - _neighbours(direction)) * inside
        step = torch.where(active, size / (direction * image).sum(dim=(2, 3), keepdim=True), 0)
        x += step * direction
        residual -= step * image
        before, size = size, residual.square().sum(dim=(2, 3), keepdim=True)
        direction = residual + torch.where(active, size / before, 0) * direction
    return x


def _neighbours(x: Tensor) -> Tensor:
    """Weighted sum of the neighbours (N, C, H, W), 0 beyond the border, plus a third of the pixel itself.

    The pixel's own share cancels in D - S. With it, the weights are (1, 2, 1) x (1, 2, 1) / 12: two fast passes.
    """
    padded = F.pad(x, (1, 1, 1, 1))
    rows = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return (rows[..., :-2, :] + 2 * rows[..., 1:-1, :] + rows[..., 2:, :]) / 12


def _area(predict: Predict, before: Tensor, after: Tensor, place: Tensor, classes: Tensor, steps: int) -> Tensor:
    """Area under the probability curve while pixels of `after` replace those of `before`, in order of `place`."""
    if steps < 1:
        raise ValueError(f"wrong value steps={steps}; allowed is an integer from 1")
    pixels = place[0].numel()
    counts = [round(pixels * step / steps) for step in range(steps + 1)]
    curve = [_probability(predict, torch.where((place < count)[:, None], after, before), classes) for count in counts]
    shares = torch.tensor(counts, dtype=torch.float64, device=place.device) / pixels
    return torch.trapezoid(torch.stack(curve, dim=1), shares, dim=1)


def _probability(predict: Predict, images: Tensor, classes: Tensor) -> Tensor:
    with torch.no_grad():
        found = predict(images).gather(1, classes[:, None])[:, 0].double()
    if not ((found >= 0) & (found <= 1 + 1e-4)).all():
        raise ValueError("predict returns values outside [0, 1]; allowed are probabilities")
    return found


def _check(images: Tensor, maps: Tensor, classes: Tensor) -> None:
    if images.ndim != 4 or not len(images) or maps.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"wrong shapes: {tuple(images.shape)} images, {tuple(maps.shape)} maps; allowed are (N, 3, H, W), (N, H, W)"
        )
    if classes.shape != (len(images),):
        raise ValueError(f"wrong number: classes {tuple(classes.shape)}; allowed is one per image, ({len(images)},)")
    if not maps.isfinite().all():
        raise ValueError("maps have values that are not finite")
