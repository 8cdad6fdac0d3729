"""Maps of masks, and CAMs by captum, against their written-out formulas."""

import pytest
import torch
import torch.nn.functional as F

import attnlab
from attnlab.configuration.groups import choices
from attnlab.errors import ConfigError
from attnlab.evaluation.maps import cam_layer, cams, mask_maps, spatial_maps
from attnlab.evaluation.mask_recorder import RecordedMask

X = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
LARGE = ("resnet101_stem3", "wrn28_10", "wrn40_10", "preact_resnet164", "preresnet110", "resnet110", "timm", "own")


def built(*overrides):
    return attnlab.build(attnlab.config(["model=resnet8", *overrides])).eval()


def test_cams_by_hand():
    net = built("model=vgg16_bn", "attention=cbam")
    layer = cam_layer(net, X)
    classes = torch.tensor([1, 2, 3, 4])
    kept = {}
    handle = net.get_submodule(layer).register_forward_hook(lambda module, x, y: kept.update(a=y))
    logits = net(X)
    (slope,) = torch.autograd.grad(logits[torch.arange(4), classes].sum(), kept["a"])
    handle.remove()
    a = kept["a"].detach()
    expected = {
        "gradcam": torch.relu((slope.mean(dim=(2, 3), keepdim=True) * a).sum(dim=1)),
        "hirescam": torch.relu((slope * a).sum(dim=1)),
    }
    found = cams(net, X, classes, layer)
    shapes = [found[name] / found[name].amax() for name in ("gradcam", "hirescam")]
    assert not torch.allclose(*shapes, atol=0.01)  # the layers behind it tell them apart
    for name, map_ in expected.items():
        large = F.interpolate(map_[:, None], size=(32, 32), mode="bilinear", align_corners=False)[:, 0]
        assert float(large.max()) > 0
        torch.testing.assert_close(found[name], large, atol=0, rtol=1e-3)


def test_cams_touch_no_gradient():
    net = built("attention=se")
    cams(net, X, torch.zeros(4, dtype=torch.long), cam_layer(net, X))
    assert all(parameter.grad is None for parameter in net.parameters())
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    frozen = cams(net, X, torch.zeros(4, dtype=torch.long), cam_layer(net, X))
    assert frozen["gradcam"].shape == (4, 32, 32)
    assert not any(module._forward_hooks for module in net.modules())


def test_gradcam_is_cam_behind_a_global_average():
    """CAM (Zhou et al. 2016): with one linear layer behind a global average, both are sum_k w_ck A_k."""
    net = built()
    features = {}
    handle = net.backbone.stage3.register_forward_hook(lambda module, x, y: features.update(a=y.detach()))
    net(X)
    handle.remove()
    cam = torch.relu(torch.einsum("k,bkhw->bhw", net.head.linear.weight[7].detach(), features["a"])) / 64
    found = cams(net, X, torch.full((4,), 7), "backbone.stage3")
    for name in ("gradcam", "hirescam"):
        large = F.interpolate(cam[:, None], size=(32, 32), mode="bilinear", align_corners=False)[:, 0]
        torch.testing.assert_close(found[name], large, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", [name for name in choices("model") if name not in LARGE])
def test_every_model_has_a_cam_layer(model):
    head = "head=ltpa_pan" if model == "vgg_pan" else "head=linear"
    net = built(f"model={model}", head)
    layer = cam_layer(net, X)
    ran = []
    net.get_submodule(layer).register_forward_hook(lambda module, x, y: ran.append(tuple(y.shape)))
    net(X)
    assert len(ran) == 1
    assert min(ran[0][2:]) >= 4


def test_a_head_of_attention_is_reached_by_the_cam():
    net = built("model=vgg_ltpa", "head=ltpa")
    assert cam_layer(net, X) == "backbone.local3"  # not in the global branch, which pc neglects under a softmax
    net = built("model=vgg_saoyan", "head=ltpa")
    assert cam_layer(net, X).startswith("backbone.local3")  # its pool runs five times


def test_no_layer_is_an_error():
    with pytest.raises(ConfigError, match="4x4 positions"):
        cam_layer(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10)), X)


def test_maps_of_masks():
    spatial = torch.rand(2, 1, 4, 4)
    rows, columns = torch.rand(2, 8, 4, 1), torch.rand(2, 8, 1, 4)
    channel = torch.rand(2, 8, 1, 1)
    seen = {
        name: RecordedMask(m, m)
        for name, m in (("a", channel), ("b.c", spatial), ("d.rows", rows), ("d.columns", columns))
    }
    found = spatial_maps(seen, (4, 4))
    assert list(found) == ["b.c", "d"]
    torch.testing.assert_close(found["b.c"], spatial[:, 0])
    torch.testing.assert_close(found["d"], rows.mean(1) * columns.mean(1))
    assert mask_maps(built("attention=se"), X) == {}
    assert [m.shape for m in mask_maps(built("attention=bam"), X).values()] == [(4, 32, 32)] * 2
