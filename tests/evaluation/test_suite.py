"""The parts of a judgement on networks written by hand, whose scores are known in advance."""

import dataclasses

import pytest
import torch
from planted import Constant, Noise, Truth, planted

from attnlab.data.memory import Images
from attnlab.errors import ConfigError
from attnlab.evaluation.judge_run import PARTS
from attnlab.evaluation.judgement_table import show
from attnlab.evaluation.suite import JUDGES
from attnlab.evaluation.suite_errors import (
    judge_background,
    judge_calibration,
    judge_corruptions,
    judge_fgsm,
    judge_health,
)
from attnlab.evaluation.suite_maps import FEW, LOCALISATION, few, judge_faithfulness, judge_localisation, judge_sanity
from attnlab.records.judgement_code import MAP_PARTS, code_of


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
    """Objects lie anywhere, so a map that is the same for every image is little better than chance."""
    scores = judge_localisation(truth, None)["scores"]
    assert scores["average_precision/blind"]["value"] < 40


def test_the_control_is_judged_on_the_same_images(truth):
    found = judge_localisation(truth, truth)
    for metric in ("pointing", "energy", "average_precision"):
        assert found["scores"][f"{metric}/control"]["value"] == found["scores"][f"{metric}/gradcam"]["value"]


def test_the_gate_is_chosen_on_other_images(truth):
    """A network with a good and a bad gate: the selection images decide which one is chosen, not the test images."""
    net = planted(Truth()).net
    net.backbone.second = planted(Noise()).net.backbone.gate
    net.backbone.forward = lambda x: {"stage1": net.backbone.conv(net.backbone.second(net.backbone.gate(x), x))}
    both = dataclasses.replace(truth, net=net)
    assert judge_localisation(both, None)["details"]["gate"] == "backbone.gate"
    swapped = dataclasses.replace(
        both, selection=Images(both.selection.images, both.selection.labels, ~both.selection.masks)
    )
    assert judge_localisation(swapped, None)["details"]["gate"] == "backbone.second"


def test_test_images_without_masks_are_an_error(truth):
    bare = dataclasses.replace(truth, test=Images(truth.test.images, truth.test.labels))
    with pytest.raises(ConfigError, match="fewer than two of the 200 test images have a mask with an object"):
        judge_localisation(bare, None)


def test_how_many_images_have_a_mask_is_beside_the_score(truth, capsys):
    masks = truth.test.masks.clone()
    masks[5:] = False
    found = judge_localisation(
        dataclasses.replace(truth, test=Images(truth.test.images, truth.test.labels, masks)), None
    )
    assert (found["details"]["images"], found["details"]["of"]) == (5, 200)
    show({"run": "a", "parts": {"localisation": found}})
    assert "localisation: on 5 of 200 images; the others have no mask with an object" in capsys.readouterr().out
    show({"run": "a", "parts": {"localisation": judge_localisation(truth, None)}})
    assert "localisation: on" not in capsys.readouterr().out


def test_masks_of_the_test_images_alone_are_halved(truth):
    bare = dataclasses.replace(truth, selection=Images(truth.selection.images, truth.selection.labels))
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


def test_maps_that_survive_randomisation_fail_the_sanity_check(truth):
    """The planted mask depends only on the image, not on any layer of the network."""
    found = judge_sanity(truth, None)
    assert "backbone.gate" in found["details"]["survived"]
    assert found["scores"]["sanity/mask"]["value"] == pytest.approx(1)
    trained = judge_sanity(planted(Noise()), None)
    assert "gradcam" not in trained["details"]["survived"] or trained["scores"]["sanity/gradcam"]["value"] >= 0.5


def test_faithful_maps_beat_random_ones(truth):
    scores = judge_faithfulness(truth, None)["scores"]
    assert scores["insertion/mask"]["value"] > scores["insertion/mask"]["beside"]
    assert scores["deletion/mask"]["value"] < scores["deletion/mask"]["beside"]
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


def test_few_images_are_of_all_classes():
    """CIFAR, SVHN and image folders are sorted by class: their first two hundred test images are of few classes."""
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


def test_nothing_is_chosen_on_the_images_that_are_judged(truth):
    """With inverted masks of the selection images, the threshold and the mean object must change."""
    other = Images(truth.selection.images, truth.selection.labels, ~truth.selection.masks)
    straight, turned = (
        judge_localisation(truth, None),
        judge_localisation(dataclasses.replace(truth, selection=other), None),
    )
    for name in ("iou/mask", "pointing/blind", "average_precision/blind"):
        assert turned["scores"][name]["value"] < straight["scores"][name]["value"] - 5, name
    for name in ("pointing/mask", "average_precision/gradcam", "iou_otsu/mask"):
        assert turned["scores"][name] == straight["scores"][name], name


def test_the_control_is_another_network(truth):
    found = judge_localisation(truth, planted(Noise()))["scores"]
    for metric in LOCALISATION:
        assert found[f"{metric}/control"]["value"] != found[f"{metric}/gradcam"]["value"], metric


def test_another_images_map_is_about_the_mean_object(truth):
    scores = judge_localisation(truth, None)["scores"]
    assert scores["pointing/shuffled"]["value"] < 30 < scores["pointing/gradcam"]["value"]


def test_gates_are_held_at_their_mean_over_other_images(truth):
    """The selection images are bright everywhere: held at that mean, the gate passes the noise of the test images."""
    bright = Images(torch.full_like(truth.selection.images, 255), truth.selection.labels, truth.selection.masks)
    usual = judge_health(truth, None)["details"]["gates"]["backbone.gate"]
    open_ = judge_health(dataclasses.replace(truth, selection=bright), None)["details"]["gates"]["backbone.gate"]
    assert usual["mean"] == open_["mean"]  # the statistics are of the test images
    assert usual["changed"] != open_["changed"]


def test_attacks_are_in_pixels_of_255():
    """Images normalised by channel; the classes differ by 12/255 in brightness, and the network uses the mean."""
    from attnlab.data.augment import Preprocess
    from attnlab.evaluation.suite_errors import judge_pgd

    run = planted(Truth())
    images = run.test.images

    class Brightness(torch.nn.Module):
        """Wrong beyond 6/255: more than an attack of 4 can change, less than an attack of 8."""

        def forward(self, x):
            pixels = x * run_sd + run_mean
            middle = (pixels.mean(dim=(1, 2, 3)) * 255 - 128) * 0.3
            return torch.stack([-middle, middle], dim=1)

    flat = torch.where((run.test.labels == 0)[:, None, None, None], 122, 134).to(torch.uint8).expand_as(images)
    preprocess = Preprocess("channel", None, images)
    run_mean, run_sd = preprocess.mean, preprocess.sd
    test = Images(flat.contiguous(), run.test.labels)
    run = dataclasses.replace(run, net=Brightness(), preprocess=preprocess, test=test)
    for name, part in (("fgsm", judge_fgsm), ("pgd", judge_pgd)):
        scores = part(run, None)["scores"]
        assert [scores[f"{name}_{e}"]["value"] for e in (2, 4, 8)] == [0, 0, 100], name
        assert scores[f"{name}_8"]["beside"] == 0


def test_calibration_error_is_above_its_noise():
    """A perfectly calibrated network still has a calibration error on few images; a wrong one has a larger error."""
    run = planted(Truth())
    run.net.head.linear.weight.data.zero_()
    run.net.head.linear.bias.data.copy_(torch.tensor([0.4, -0.4]))
    one = judge_calibration(run, None)["scores"]["calibration_error"]
    assert one["beside"] > 0.01
    assert one["value"] > 3 * one["beside"]  # the network predicts 69 %, and half of the predictions are right


def test_sanity_reports_what_is_left_at_the_end(truth):
    found = judge_sanity(planted(Noise()), None)
    correlations = found["details"]["correlations"]["gradcam"]
    assert found["scores"]["sanity/gradcam"]["value"] == pytest.approx(correlations[-1], abs=1e-3)
    assert found["scores"]["sanity/gradcam"]["se"] is not None
    assert len(correlations) > 1


def test_every_severity_counts(truth):
    found = judge_corruptions(dataclasses.replace(truth, test=truth.test.take(torch.arange(20))), None)
    every = [e for errors in found["details"]["error by severity"].values() for e in errors]
    assert len(every) == 75
    assert found["scores"]["corruptions"]["value"] == pytest.approx(sum(every) / 75, abs=1e-3)


def test_weights_that_are_not_finite_are_one_message(truth):
    net = planted(Truth()).net
    net.backbone.conv.weight.data.fill_(float("nan"))
    with pytest.raises(ConfigError, match="not finite"):
        judge_localisation(dataclasses.replace(truth, net=net), None)


def test_the_code_of_each_part_is_that_of_its_judge():
    """judgement_code.py names the modules, since records may not import evaluation."""
    assert set(JUDGES) == set(PARTS)
    for part, judge_part in JUDGES.items():
        assert f"{judge_part.__module__.replace('.', '/')}.py" in code_of(part), part
        assert (part in MAP_PARTS) == (judge_part.__module__ == "attnlab.evaluation.suite_maps")
