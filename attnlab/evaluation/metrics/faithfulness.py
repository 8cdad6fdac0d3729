"""Does the prediction hang on what is attended? Pixels are removed in the map's order, and the probability watched.

Everywhere: predict, normalised images (B, 3, H, W) -> probabilities (B, classes), called without gradients on all
images at once; images (N, 3, H, W), normalised, so that 0 is the mean; maps (N, H, W), finite, high = attended; classes
(N,), int64: whose probability. Pixels that tie in a map stand in a random order, drawn from the seed and the same for
all images: never in that of their position, and never one that hangs on the other images. Scores are (N,), float64.
ValueError: of shapes, types or values that are not as said here.
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
#: pixels imputed at once on a CPU: what fits into its cache; other devices take all images together
CHUNK = 32_768


def deletion(predict: Predict, images: Tensor, maps: Tensor, classes: Tensor, steps: int = 16, seed: int = 0) -> Tensor:
    """Area under the probability of the class while pixels are set to 0, the highest of the map first; low is good.

    The curve runs over the share of pixels removed, 0 to 1 in `steps` equal steps, by the trapezoidal rule. Petsiuk et
    al. 2018 (RISE, arXiv 1806.07421). Chance is what random maps score.
    """
    _check(images, maps, classes)
    return _area(predict, images, torch.zeros_like(images), ranks(maps, seed), classes, steps)


def insertion(
    predict: Predict,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    steps: int = 16,
    seed: int = 0,
    blur: float = 1 / 8,
) -> Tensor:
    """As deletion, while the image's pixels are put into its blurred copy, the highest of the map first; high is good.

    blur: sigma of the Gaussian, as a share of the image's shorter side. RISE blurs images of 224 pixels with sigma 5 in
    a window of 11: in the same proportion less than a pixel of CIFAR's 32, which hides nothing. A Gaussian of sigma
    s leaves exp(-2 (pi f s)^2) of a wave with f cycles across the image, with s = 1/8 29 % of 2 cycles, 6 % of 3 and
    under 1 % of 4: where the colours lie, but no part of the object, at any size of image.
    """
    _check(images, maps, classes)
    return _area(predict, blurred(images, blur), images, ranks(maps, seed), classes, steps)


def road(
    predict: Predict,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    noise: float = NOISE,
) -> dict[str, Tensor]:
    """ROAD: {"morf", "lerf"}, mean probability of the class when shares of the pixels are removed and imputed.

    morf: the most relevant pixels removed, lerf: the least relevant. The score is lerf - morf, high is good, 0 for a
    constant map; round(share H W) pixels are removed. Rong et al. 2022 (arXiv 2202.00449). ValueError: a share
    outside of (0, 1).
    """
    _check(images, maps, classes)
    if not shares or not all(0 < share < 1 for share in shares):
        raise ValueError(f"shares={list(shares)}: allowed are numbers between 0 and 1")
    means = {}
    # The lowest first is no reversed order of the highest first: ties keep theirs, so a constant map removes the same.
    for name, place in (("morf", ranks(maps, seed)), ("lerf", ranks(-maps, seed))):
        curve = [
            _probability(predict, impute(images, place < round(share * maps[0].numel()), seed, noise), classes)
            for share in shares
        ]
        means[name] = torch.stack(curve, dim=1).mean(dim=1)
    return means


def ranks(maps: Tensor, seed: int = 0) -> Tensor:
    """Place of each pixel in its map, (N, H, W), int64: 0 is the highest; ties by one random order for all maps."""
    flat = maps.flatten(1)
    shuffled = torch.randperm(flat.shape[1], generator=generator(seed, 0)).to(maps.device)
    order = shuffled[flat[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(flat.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(maps.shape)


def blurred(images: Tensor, share: float) -> Tensor:
    """Gaussian blur, sigma = share of the shorter side, cut at 3 sigma, the image mirrored at its borders."""
    sigma = share * min(images.shape[-2:])
    radius = ceil(3 * sigma)
    if not 0 < radius < min(images.shape[-2:]):
        raise ValueError(
            f"blur={share}: allowed is more than 0, and 3 sigma within images of {tuple(images.shape[-2:])}"
        )
    taps = torch.exp(-(torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device) ** 2) / 2 / sigma**2)

    def along(size: int) -> Tensor:
        """The blur of one axis as a matrix: column i holds what pixel i takes of every pixel."""
        pixels = torch.eye(size, dtype=images.dtype, device=images.device)
        mirrored = F.pad(pixels[None], (radius, radius), mode="reflect")[0]
        return mirrored.unfold(1, 2 * radius + 1, 1) @ (taps / taps.sum())

    return along(images.shape[-2]).T @ images @ along(images.shape[-1])


def impute(images: Tensor, removed: Tensor, seed: int = 0, noise: float = NOISE, tolerance: float = 1e-5) -> Tensor:
    """Noisy linear imputation: every removed pixel is the weighted mean of its neighbours, plus Gaussian noise.

    removed: (N, H, W), bool. The four direct neighbours weigh 1/6, the four diagonal ones 1/12, removed or not; at the
    border those that there are share the whole weight. That is one linear system an image, solved to a residual of
    `tolerance` of its first. noise: its sd, drawn from the seed, one value a pixel and channel, the same for all
    images. An image without any pixel left becomes 0, the mean. Rong et al. 2022; borders as in their code
    (tleemann/road_evaluation imputations.py) and in pytorch-grad-cam.
    """
    if removed.dtype != torch.bool or removed.shape != (len(images), *images.shape[-2:]):
        raise ValueError(f"removed {tuple(removed.shape)} of {removed.dtype}: allowed is bool (N, H, W)")
    size = max(1, CHUNK // removed[:1].numel()) if images.is_cpu else max(1, len(images))
    parts = zip(images.split(size), removed.split(size), strict=True)
    filled = torch.cat([_solve(part, gap[:, None], tolerance) for part, gap in parts])
    grain = noise * torch.randn(images.shape[1:], generator=generator(seed, 1), dtype=torch.float64)
    return torch.where(removed[:, None], filled + grain.to(images), images)


def _solve(images: Tensor, gap: Tensor, tolerance: float) -> Tensor:
    """x of (D - S) x = S known on the gap (N, 1, H, W): S the weighted sum over the neighbours, D S's weights.

    By conjugate gradients: the matrix is symmetric, and positive definite wherever a pixel is known. An image that is
    done stands still, so that its numbers do not hang on the others.
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
    """Weighted sum of the neighbours (N, C, H, W), nothing beyond the border, and a third of the pixel itself.

    The pixel itself falls out of D - S; with it the weights are (1, 2, 1) x (1, 2, 1) / 12, two quick passes.
    """
    padded = F.pad(x, (1, 1, 1, 1))
    rows = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return (rows[..., :-2, :] + 2 * rows[..., 1:-1, :] + rows[..., 2:, :]) / 12


def _area(predict: Predict, before: Tensor, after: Tensor, place: Tensor, classes: Tensor, steps: int) -> Tensor:
    """Area under the curve from the images before to those after, by their pixels' places."""
    if steps < 1:
        raise ValueError(f"steps={steps}: allowed are integers from 1")
    pixels = place[0].numel()
    counts = [round(pixels * step / steps) for step in range(steps + 1)]
    curve = [_probability(predict, torch.where((place < count)[:, None], after, before), classes) for count in counts]
    shares = torch.tensor(counts, dtype=torch.float64, device=place.device) / pixels
    return torch.trapezoid(torch.stack(curve, dim=1), shares, dim=1)


def _probability(predict: Predict, images: Tensor, classes: Tensor) -> Tensor:
    with torch.no_grad():
        found = predict(images).gather(1, classes[:, None])[:, 0].double()
    if not ((found >= 0) & (found <= 1 + 1e-4)).all():
        raise ValueError("predict: returns no probabilities")
    return found


def _check(images: Tensor, maps: Tensor, classes: Tensor) -> None:
    if images.ndim != 4 or not len(images) or maps.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"images {tuple(images.shape)} and maps {tuple(maps.shape)}: allowed are (N, 3, H, W), (N, H, W)"
        )
    if classes.shape != (len(images),):
        raise ValueError(f"classes {tuple(classes.shape)}: allowed is one of each of {len(images)} images")
    if not maps.isfinite().all():
        raise ValueError("maps: not all values are finite")
