"""Is the attention on the object? Scores of a map against the object's mask, and the expected scores of a random map.

In all functions: maps (N, H, W), floating, finite, high = attended; masks (N, H, W), bool, true on the object, with at
least one true and one false pixel each. Scores are (N,), float64, in [0, 1]; a score does not depend on the other
images. A map is min-max normalised: m = (map - min) / (max - min) over its own pixels; a constant map becomes m = 1,
i.e. attends everywhere. ValueError: shapes, types, values or masks other than these.
"""

import torch
from torch import Tensor

THRESHOLDS = 101  # values that best_threshold tries: 0, 0.01, ..., 1
OTSU_BINS = 256  # bins of Otsu's histogram, as for the 8-bit images of the paper
IMAGES_AT_ONCE = 512  # so that temporary tensors stay small for any number of maps


def pointing(maps: Tensor, masks: Tensor) -> Tensor:
    """Pointing game: 1 if the map's maximum lies on the object, else 0; with several maxima, the share on the object.

    A constant map scores the object's area. Zhang et al. 2016 (arXiv 1608.00507), without their margin of 15 pixels
    around the object.
    """
    flat, on = _checked(maps, masks)
    largest = flat == flat.amax(dim=1, keepdim=True)
    return (largest & on).sum(dim=1).double() / largest.sum(dim=1)


def energy(maps: Tensor, masks: Tensor) -> Tensor:
    """Energy-based pointing game: sum of m on the object / sum of m. Wang et al. 2020 (Score-CAM, arXiv 1910.01279).

    A constant map scores the object's area.
    """
    flat, on = _checked(maps, masks)
    m = _normalised(flat)
    return (m * on).sum(dim=1) / m.sum(dim=1)


def average_precision(maps: Tensor, masks: Tensor) -> Tensor:
    """sum_t (R_t - R_(t-1)) P_t over the map's distinct values t, highest first.

    R_t, P_t: recall and precision of the pixels with map >= t, so tied pixels are added together, as in scikit-learn's
    average_precision_score. A constant map scores the object's area.
    """
    flat, on = _checked(maps, masks)
    ranked, order = flat.sort(dim=1, descending=True)
    hits = on.gather(1, order)
    n = hits.shape[1]
    rank = torch.arange(1, n + 1, device=flat.device)
    precision = hits.cumsum(dim=1).double() / rank
    last = torch.ones_like(hits)  # whether a pixel is the last one of its ties
    last[:, :-1] = ranked[:, :-1] != ranked[:, 1:]
    # Each pixel gets the precision at the last pixel of its ties: the next `last` at or after its own rank.
    end = torch.where(last, rank - 1, n).flip(1).cummin(dim=1).values.flip(1)
    return (precision.gather(1, end) * hits).sum(dim=1) / hits.sum(dim=1)


def iou(maps: Tensor, masks: Tensor, threshold: float | Tensor) -> Tensor:
    """|S and O| / |S or O| of the selected pixels S = {m >= threshold} and the object's pixels O.

    threshold: in [0, 1], one for all images, or one per image (N,) as from `otsu`. A constant map selects every pixel.
    """
    flat, on = _checked(maps, masks)
    level = torch.as_tensor(threshold, dtype=torch.float64, device=flat.device)
    if level.ndim > 1 or (level.ndim == 1 and len(level) != len(flat)):
        raise ValueError(
            f"wrong shape: threshold {tuple(level.shape)}; allowed is a number, or one per map, ({len(flat)},)"
        )
    if not ((level >= 0) & (level <= 1)).all():
        raise ValueError("threshold is outside [0, 1]")
    selected = _normalised(flat) >= level.reshape(-1, 1)
    return (selected & on).sum(dim=1).double() / (selected | on).sum(dim=1)


def best_threshold(maps: Tensor, masks: Tensor) -> float:
    """The threshold among 0, 0.01, ..., 1 with the highest mean IoU over all images; among equal ones the lowest.

    One threshold for all images: Choe et al. 2020 (arXiv 2001.07437). They choose it on the images that they score;
    here the caller chooses it on other images.
    """
    flat, on = _checked(maps, masks)
    thresholds = torch.linspace(0, 1, THRESHOLDS, dtype=torch.float64, device=flat.device)
    total = torch.zeros_like(thresholds)
    for part, inside in zip(flat.split(IMAGES_AT_ONCE), on.split(IMAGES_AT_ONCE), strict=True):
        # A pixel is selected by all thresholds up to its value, so its number of reached thresholds is enough.
        reached = torch.bucketize(_normalised(part), thresholds, right=True) - 1
        selected, hits = _at_least(reached), _at_least(reached, inside)
        union = inside.sum(dim=1, keepdim=True) + selected - hits
        total += (hits.double() / union).sum(dim=0)
    return float(thresholds[total.argmax()])


def otsu(maps: Tensor) -> Tensor:
    """Thresholds (N,) of m that best separate an image's pixels into two classes, without ground truth.

    argmax_t w0 w1 (mu0 - mu1)^2 over the centres t of 256 bins on [0, 1]; w and mu: shares and means of the pixels up
    to t's bin and of those above; among equal ones the lowest t. 1 for a constant map. Otsu 1979 (IEEE Transactions on
    Systems, Man, and Cybernetics 9, 62).
    """
    flat = _flat(maps)
    bins = torch.arange(OTSU_BINS, device=flat.device)
    best = []
    for part in flat.split(IMAGES_AT_ONCE):
        m = _normalised(part)
        counts = _histogram((m * OTSU_BINS).long().clamp_(max=OTSU_BINS - 1), OTSU_BINS)
        # In integers, so that thresholds in empty bins between the classes tie exactly, on every device.
        low, low_sum = counts.cumsum(dim=1)[:, :-1], (counts * bins).cumsum(dim=1)[:, :-1]
        high, high_sum = part.shape[1] - low, (counts * bins).sum(dim=1, keepdim=True) - low_sum
        apart = low_sum.double() / low.clamp(min=1) - high_sum.double() / high.clamp(min=1)
        threshold = (((low * high).double() * apart.square()).argmax(dim=1).double() + 0.5) / OTSU_BINS
        best.append(torch.where(m.amin(dim=1) == 1, 1.0, threshold))
    return torch.cat(best)


def chance(masks: Tensor) -> dict[str, Tensor]:
    """The expected scores of a random map, (N,) each: {pointing, energy, average_precision, iou}.

    With k of n pixels on the object: k/n for pointing and energy. k/n also for IoU: a random map reaches it by
    selecting every pixel and cannot do better. For average precision the mean over all rankings of the pixels without
    ties, (H_n + (n - H_n) (k - 1) / (n - 1)) / n with H_n = 1 + 1/2 + ... + 1/n, slightly above k/n.
    """
    on = _objects(masks)
    n, k = on.shape[1], on.sum(dim=1).double()
    area = k / n
    harmonic = float((1 / torch.arange(1, n + 1, dtype=torch.float64)).sum())
    ranked = (harmonic + (n - harmonic) * (k - 1) / (n - 1)) / n
    return {"pointing": area, "energy": area.clone(), "average_precision": ranked, "iou": area.clone()}


def _checked(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Maps and masks as (N, H W)."""
    if maps.shape != masks.shape:
        raise ValueError(f"shapes differ: maps {tuple(maps.shape)}, masks {tuple(masks.shape)}")
    return _flat(maps), _objects(masks)


def _flat(maps: Tensor) -> Tensor:
    if maps.ndim != 3 or not maps.is_floating_point():
        raise ValueError(f"wrong maps: {tuple(maps.shape)} of {maps.dtype}; allowed is floating (N, H, W)")
    if not maps.isfinite().all():
        raise ValueError("maps have values that are not finite")
    return maps.flatten(1)


def _objects(masks: Tensor) -> Tensor:
    if masks.ndim != 3 or masks.dtype != torch.bool:
        raise ValueError(f"wrong masks: {tuple(masks.shape)} of {masks.dtype}; allowed is bool (N, H, W)")
    on = masks.flatten(1)
    if (useless := on.all(dim=1) | ~on.any(dim=1)).any():
        where = useless.nonzero().flatten().tolist()
        raise ValueError(f"{len(where)} masks are all object or all background; the first is mask {where[0]}")
    return on


def _normalised(flat: Tensor) -> Tensor:
    """m (N, n), float64."""
    values = flat.double()
    low, high = values.aminmax(dim=1, keepdim=True)
    return torch.where(high > low, (values - low) / (high - low), 1.0)


def _histogram(bins: Tensor, size: int, weights: Tensor | None = None) -> Tensor:
    """Counts (N, size) of the bins (N, n) of each image; only pixels with weight 1 count."""
    ones = torch.ones_like(bins) if weights is None else weights.long()
    return torch.zeros(len(bins), size, dtype=torch.int64, device=bins.device).scatter_add_(1, bins, ones)


def _at_least(reached: Tensor, weights: Tensor | None = None) -> Tensor:
    """The number of pixels of each image that reach each threshold, (N, THRESHOLDS)."""
    return _histogram(reached, THRESHOLDS, weights).flip(1).cumsum(dim=1).flip(1)
