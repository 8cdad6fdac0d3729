"""The parts of a judgement on planted networks: what is known beforehand must come out."""

import dataclasses

import pytest
import torch
from planted import Constant, Noise, Truth, planted

from attnlab.data.memory import Images
from attnlab.errors import ConfigError
from attnlab.judge_errors import judge_background, judge_calibration, judge_corruptions, judge_fgsm, judge_health
from attnlab.judge_maps import FEW, LOCALISATION, few, judge_faithfulness, judge_localisation, judge_sanity


@pytest.fixture(scope="module")
def truth():
    return planted(Truth())


def test_a_mask_that_is_the_truth_scores_about_one(truth):
    scores = judge_localisation(truth, None)["scores"]
    for metric in (*LOCALISATION, "iou_otsu"):
        assert scores[f"{metric}/mask"]["value"] > 97, metric
        assert scores[f"{metric}/mask"]["beside"] < 15


def test_a_random_mask_scores_chance_on_every_metric():
    found = judge_localisation(planted(Noise(), count=600), None)
    for metric in LOCALISATION:
        one = found["scores"][f"{metric}/mask"]
        assert one["value"] == pytest.approx(one["beside"], abs=4 * one["se"]), metric
    assert found["details"]["gate"] == "backbone.gate"


def test_a_constant_mask_scores_chance():
    scores = judge_localisation(planted(Constant()), None)["scores"]
    for metric in ("pointing", "energy", "iou"):
        assert scores[f"{metric}/mask"]["value"] == pytest.approx(scores[f"{metric}/mask"]["beside"])


def test_the_mean_object_is_no_better_than_its_place_allows(truth):
    """Objects lie anywhere: what is the same for every image is little better than chance, far from the truth."""
    scores = judge_localisation(truth, None)["scores"]
    assert scores["average_precision/blind"]["value"] < 40


def test_the_control_is_judged_on_the_same_images(truth):
    found = judge_localisation(truth, truth)
    for metric in ("pointing", "energy", "average_precision"):
        assert found["scores"][f"{metric}/control"]["value"] == found["scores"][f"{metric}/gradcam"]["value"]


def test_the_gate_is_chosen_on_other_images(truth):
    """A network with a good and a bad gate: the other images decide which one stands for it, not the judged ones."""
    net = planted(Truth()).net
    net.backbone.second = planted(Noise()).net.backbone.gate
    net.backbone.forward = lambda x: {"stage1": net.backbone.conv(net.backbone.second(net.backbone.gate(x), x))}
    both = dataclasses.replace(truth, net=net)
    assert judge_localisation(both, None)["details"]["gate"] == "backbone.gate"
    swapped = dataclasses.replace(both, other=Images(both.other.images, both.other.labels, ~both.other.masks))
    assert judge_localisation(swapped, None)["details"]["gate"] == "backbone.second"


def test_without_masks_it_says_so(truth):
    bare = dataclasses.replace(truth, test=Images(truth.test.images, truth.test.labels))
    with pytest.raises(ConfigError, match="the test images have no masks"):
        judge_localisation(bare, None)


def test_masks_of_the_test_images_alone_are_halved(truth):
    bare = dataclasses.replace(truth, other=Images(truth.other.images, truth.other.labels))
    found = judge_localisation(bare, None)
    assert found["details"]["images"] == len(truth.test) // 2
    assert found["scores"]["iou/mask"]["value"] > 97


def test_a_constant_gate_is_reported_as_doing_nothing(truth):
    found = judge_health(planted(Constant()), None)
    assert found["details"]["gates"]["backbone.gate"]["verdict"] == "does nothing"
    assert found["scores"]["still/changed"]["value"] == 0
    alive = judge_health(truth, None)
    assert alive["details"]["gates"]["backbone.gate"]["verdict"] == "helps"
    assert alive["scores"]["still/error_change"]["value"] > 20


def test_maps_that_survive_randomisation_fail(truth):
    """The planted mask is made of the image alone: no layer of the network decides it."""
    found = judge_sanity(truth, None)
    assert "backbone.gate" in found["details"]["survived"]
    assert found["scores"]["sanity/mask"]["value"] == pytest.approx(1)
    trained = judge_sanity(planted(Noise()), None)
    assert "gradcam" not in trained["details"]["survived"] or trained["scores"]["sanity/gradcam"]["value"] >= 0.5


def test_faithful_maps_beat_random_ones(truth):
    scores = judge_faithfulness(truth, None)["scores"]
    assert scores["insertion/mask"]["value"] > scores["insertion/mask"]["beside"] + 0.05
    assert scores["road/mask"]["value"] > scores["road/mask"]["beside"] + 0.05


def test_attacks_and_calibration(truth):
    assert judge_calibration(truth, None)["scores"]["calibration_error"]["value"] < 0.05
    scores = judge_fgsm(truth, None)["scores"]
    assert scores["fgsm_2"]["beside"] == 0
    # The classes' brightnesses lie 50/255 apart: no attack of 8/255 crosses the middle.
    assert scores["fgsm_8"]["value"] == 0
    blind = dataclasses.replace(truth, net=planted(Noise()).net)
    assert judge_fgsm(blind, None)["scores"]["fgsm_2"]["beside"] > 20


def test_corruptions_stand_beside_the_clean_error(truth):
    found = judge_corruptions(dataclasses.replace(truth, test=truth.test.take(torch.arange(40))), None)
    assert found["scores"]["corruptions"]["beside"] == 0
    assert found["scores"]["corruptions"]["value"] > 5
    assert len(found["details"]["error by severity"]) == 15
    brightness = found["details"]["error by severity"]["brightness"]
    assert brightness[4] >= brightness[0]


def test_backgrounds_belong_to_one_dataset(truth):
    with pytest.raises(ConfigError, match="only cluttered_digits"):
        judge_background(truth, None)


def test_few_images_are_of_every_class():
    """CIFAR, SVHN and folders are sorted by class: the first two hundred test images are of the first classes."""
    labels = torch.arange(1000) // 100
    chosen = few(Images(torch.zeros(1000, 3, 2, 2, dtype=torch.uint8), labels))
    assert chosen.labels.bincount().tolist() == [FEW // 10] * 10


def test_saturation_of_a_softmax_is_unknown_and_not_zero(truth):
    class Softmax(torch.nn.Module):
        def forward(self, z):
            return z.flatten(1).softmax(dim=1).view_as(z)

    net = planted(Truth()).net
    net.backbone.gate.mask = Softmax()
    found = judge_health(dataclasses.replace(truth, net=net), None)
    assert found["details"]["gates"]["backbone.gate"]["saturated"] is None
    assert "saturated" not in found["scores"]
