"""The metrics agree with quantus, pytorch-grad-cam and torchattacks; stored results of reference/make_judges.py."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from attnlab.evaluation.metrics.attacks import fgsm, pgd
from attnlab.evaluation.metrics.faithfulness import deletion, impute, pixel_places, road
from attnlab.evaluation.metrics.localisation import energy, pointing

sys.path.insert(0, str(Path(__file__).parents[2] / "reference"))
from make_judges import CLASSES, EPSILON, FLIPPED, GOLDEN, PERCENTILES, inputs, network
from rule import values

STORED = dict(np.load(GOLDEN))
GIVEN = inputs()
NET = network()


def predict(images):
    return NET(images).softmax(dim=1)


def test_the_file_is_small_and_the_rule_draws_what_it_drew():
    assert GOLDEN.stat().st_size < 200_000
    assert values("input", (3,)).tolist() == json.loads(str(STORED["about"]))["input_head"]


def test_localisation_is_quantus():
    hits = pointing(GIVEN["maps"], GIVEN["masks"])
    assert hits.tolist() == STORED["quantus/pointing"].tolist()
    assert sorted(set(hits.tolist())) == [0, 1]
    assert np.allclose(energy(GIVEN["maps"], GIVEN["masks"]), STORED["quantus/mass"], atol=1e-12)


def test_deletion_is_the_area_under_quantus_pixel_flipping():
    """Its curve begins after the first step: the clean images' probability comes before it."""
    steps = 99 // FLIPPED
    clean = predict(GIVEN["images"])[range(len(CLASSES)), CLASSES]
    curve = np.concatenate([clean.detach().numpy()[:, None], STORED["quantus/flipping"]], axis=1)
    ours = deletion(predict, GIVEN["images"], GIVEN["maps"], GIVEN["classes"], steps)
    assert np.allclose(ours, np.trapezoid(curve, dx=1 / steps, axis=1), atol=1e-6)
    assert np.ptp(curve, axis=1).min() > 0.1


@pytest.mark.parametrize("percentile", PERCENTILES)
@pytest.mark.parametrize("name", ["morf", "lerf"])
def test_road_is_pytorch_grad_cams(name, percentile):
    """As many pixels are removed as there: the share that a percentile removes is not exactly its own."""
    images, theirs = GIVEN["images"], torch.from_numpy(STORED[f"grad_cam/{name}_{percentile}/images"]).double()
    removed = (theirs - images).abs().amax(dim=1) > 1e-6
    counts = removed.flatten(1).sum(dim=1)
    assert (counts == counts[0]).all()
    assert float(counts[0]) / 99 == pytest.approx(1 - percentile / 100, abs=0.02)
    place = pixel_places(GIVEN["maps"] if name == "morf" else -GIVEN["maps"])
    assert torch.equal(removed, place < counts[0])
    assert torch.allclose(impute(images, removed, noise=0, tolerance=1e-10), theirs, atol=1e-5)
    share = float(counts[0]) / 99
    ours = road(predict, images, GIVEN["maps"], GIVEN["classes"], [share], noise=0)[name]
    assert np.allclose(ours, STORED[f"grad_cam/{name}_{percentile}/probabilities"], atol=1e-5)


def test_attacks_are_torchattacks():
    pixels, labels = GIVEN["pixels"], GIVEN["classes"]
    assert np.allclose(fgsm(NET, pixels, labels, EPSILON), STORED["torchattacks/fgsm"], atol=1e-12)
    ours = pgd(NET, pixels, labels, EPSILON)
    assert np.allclose(ours, STORED["torchattacks/pgd"], atol=1e-12)
    assert float((ours - pixels).abs().max()) == pytest.approx(EPSILON)


def test_quantus_stays_outside():
    assert not {"quantus", "torchattacks", "pytorch_grad_cam"} & set(sys.modules)
