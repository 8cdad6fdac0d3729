"""ROAD's imputation, against scipy's sparse solver, and on planes, which it continues exactly."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

from attnlab.evaluation.metrics.faithfulness import NOISE, impute, pixel_places


def solved(image, removed):
    """The imputed image (3, H, W) by scipy: an equation for each removed pixel."""
    height, width = removed.shape
    number = {pixel: i for i, pixel in enumerate(zip(*np.nonzero(removed), strict=True))}
    entries, right = [], np.zeros((len(number), len(image)))
    for (y, x), i in number.items():
        total = 0.0
        for dy, dx in ((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)):
            near, weight = (y + dy, x + dx), 1 / 12 if dy and dx else 1 / 6
            if not (0 <= near[0] < height and 0 <= near[1] < width):
                continue
            total += weight
            if near in number:
                entries.append((i, number[near], -weight))
            else:
                right[i] += weight * image[:, near[0], near[1]]
        entries.append((i, i, total))
    rows, columns, values = zip(*entries, strict=True)
    filled = image.copy()
    matrix = coo_matrix((values, (rows, columns))).tocsr()
    filled[:, removed] = spsolve(matrix, right).T
    return filled


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["scattered", "blob", "border"])
def test_imputation_is_scipys_sparse_solution(draw, kind, share):
    generator = draw(2)
    images = torch.randn(3, 3, 11, 9, generator=generator, dtype=torch.float64)
    maps = torch.rand(3, 11, 9, generator=generator)
    y, x = torch.linspace(-1, 1, 11)[:, None], torch.linspace(-1, 1, 9)
    far = (y**2 + x**2).expand(3, 11, 9)
    maps = {"scattered": maps, "blob": -far + maps / 100, "border": far + maps / 100}[kind]
    removed = pixel_places(maps) < round(share * 99)
    filled = impute(images, removed, noise=0, tolerance=1e-13)
    for image, gap, ours in zip(images.numpy(), removed.numpy(), filled.numpy(), strict=True):
        assert np.allclose(ours, solved(image, gap), atol=1e-10)
    assert torch.allclose(impute(images.float(), removed, noise=0), filled.float(), atol=1e-4)


def test_imputation_goes_on_as_planes_and_has_grain_only_where_it_fills(draw):
    plane = (torch.arange(32.0)[:, None] / 32 + torch.arange(32.0) / 16).expand(40, 3, 32, 32)
    removed = torch.zeros(40, 32, 32, dtype=torch.bool)
    removed[:, 5:20, 3:30] = True
    filled = impute(plane, removed)
    assert torch.equal(filled[~removed[:, None].expand_as(filled)], plane[~removed[:, None].expand_as(plane)])
    grain = (filled - plane)[:, :, 5:20, 3:30]
    assert float(grain[0].std()) == pytest.approx(NOISE, rel=0.05)
    assert float(grain[0].mean()) == pytest.approx(0, abs=NOISE / 10)
    assert grain[0, 0].sub(grain[0, 1]).std() > NOISE
    assert torch.equal(impute(plane[:1], removed[:1]), filled[:1])
    assert torch.equal(impute(plane, removed, seed=0), filled)
    assert not torch.equal(impute(plane, removed, seed=1), filled)


def test_nothing_and_everything_can_be_imputed(draw):
    images = torch.randn(6, 3, 8, 8, generator=draw(1), dtype=torch.float64)
    nothing = torch.zeros(6, 8, 8, dtype=torch.bool)
    assert torch.equal(impute(images, nothing), images)
    mixed = nothing.clone()
    mixed[2] = True
    mixed[3, :, :7] = True
    filled = impute(images, mixed, noise=0)
    assert torch.equal(filled[:2], images[:2])
    assert not filled[2].any()
    assert filled.isfinite().all()
