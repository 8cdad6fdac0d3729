"""Further maps of attnlab.look: captum's against their formulas, grad-cam's against their names."""

from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attnlab.errors import ConfigError
from attnlab.evaluation.attributions import OCCLUDED, attributions
from attnlab.evaluation.cam_names import BY_GRAD_CAM, CAMS, DEFAULT_CAMS


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 5, 3, padding=1)
        self.linear = nn.Linear(5, 4)

    def forward(self, x):
        return self.linear(F.relu(self.features(x)).mean(dim=(2, 3)))


@pytest.fixture
def few():
    torch.manual_seed(0)
    net = Net().eval()
    for parameter in net.parameters():  # as those of a finished run
        parameter.requires_grad_(False)
    return net, torch.randn(2, 3, 8, 8), torch.tensor([1, 3])


def test_saliency_and_integrated_gradients(few):
    net, x, classes = few
    found = attributions(net, x, classes, "features", ["saliency", "integrated_gradients"])
    inputs = x.clone().requires_grad_()
    net(inputs).gather(1, classes[:, None]).sum().backward()
    assert torch.allclose(found["saliency"], inputs.grad.abs().amax(dim=1), atol=1e-5)
    assert found["integrated_gradients"].shape == (2, 8, 8)
    assert float(found["integrated_gradients"].min()) >= 0


def test_occlusion_is_the_logits_drop(few):
    net, x, classes = few
    found = attributions(net, x, classes, "features", ["occlusion"])["occlusion"]
    side = 8 // OCCLUDED
    hidden = x.clone()
    hidden[:, :, :side, :side] = 0  # the only square over the corner pixel
    with torch.no_grad():
        drop = (net(x) - net(hidden)).gather(1, classes[:, None])[:, 0]
    assert torch.allclose(found[:, 0, 0], torch.relu(drop), atol=1e-5)


def test_ablationcam_weighs_each_channel_by_what_its_absence_costs(few):
    net, x, classes = few
    found = attributions(net, x, classes, "features", ["ablationcam"])["ablationcam"]
    with torch.no_grad():
        features = net.features(x)
        logits = net(x).gather(1, classes[:, None])[:, 0]
        wanted = torch.zeros(2, 8, 8)
        for channel in range(5):
            kept = features.clone()
            kept[:, channel] = 0
            without = net.linear(F.relu(kept).mean(dim=(2, 3))).gather(1, classes[:, None])[:, 0]
            wanted += ((logits - without) / logits.abs())[:, None, None] * features[:, channel]
    assert torch.allclose(found, torch.relu(wanted), atol=1e-5)


def test_the_order_is_the_users_and_no_gradient_is_left(few):
    net, x, classes = few
    names = ["saliency", "hirescam", "gradcam"]
    found = attributions(net, x, classes, "features", names)
    assert list(found) == names
    assert all(parameter.grad is None for parameter in net.parameters())
    assert x.grad is None
    assert not x.requires_grad


@pytest.mark.skipif(not find_spec("pytorch_grad_cam"), reason="grad-cam is not installed")
def test_the_maps_of_grad_cam(few):
    net, x, classes = few
    found = attributions(net, x, classes, "features", list(BY_GRAD_CAM))
    for name, maps in found.items():
        assert maps.shape == (2, 8, 8), name
        assert float(maps.min()) >= 0, name
        assert float(maps.max()) <= 1, name
    plain = attributions(net, x, classes, "features", ["gradcam"])["gradcam"]
    assert not torch.allclose(found["gradcam++"], plain)
    assert not net.features._forward_hooks  # nothing is left behind


def test_without_grad_cam_the_message_names_it(few, monkeypatch):
    monkeypatch.setattr("attnlab.evaluation.attributions.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"missing package grad-cam, which cams=layercam needs; install attnlab\[cams\]"
    ):
        attributions(*few, "features", ["layercam"])


def test_every_name_is_one_of_a_package():
    assert len(set(CAMS)) == len(CAMS)
    assert CAMS[:2] == DEFAULT_CAMS
