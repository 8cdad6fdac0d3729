"""TensorFlow's padding, and the dropout of a pooled vector, against what they are said to be."""

import pytest
import torch
import torch.nn.functional as F

import attnlab
from attnlab.errors import ConfigError
from attnlab.layers import FarPadded, conv


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_far_padding_against_windows_cut_by_hand(kernel_size, stride, dilation):
    """TensorFlow, `same`: ceil(n / s) windows; zeros before: half, rounded down, of what the last one lacks."""
    torch.manual_seed(0)
    layer = FarPadded(2, 3, kernel_size, stride, dilation=dilation).double()
    x = torch.randn(1, 2, 8, 7, dtype=torch.float64)
    y = layer(x)
    span = dilation * (kernel_size - 1) + 1
    assert y.shape[2:] == (-(-8 // stride), -(-7 // stride))
    before = [max(0, (out - 1) * stride + span - n) // 2 for out, n in zip(y.shape[2:], (8, 7), strict=True)]
    wide = F.pad(x, (9, 9, 9, 9))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            top, left = 9 + i * stride - before[0], 9 + j * stride - before[1]
            window = wide[0, :, top : top + span : dilation, left : left + span : dilation]
            expected = (layer.weight * window).sum(dim=(1, 2, 3)) + layer.bias
            assert torch.allclose(y[0, :, i, j], expected)


def test_only_strided_convs_differ():
    assert type(conv(2, 3, 3, 1, padding="far")) is torch.nn.Conv2d
    assert type(conv(2, 3, 3, 2)) is torch.nn.Conv2d
    torch.manual_seed(0)
    both = conv(2, 3, 3, 2)
    torch.manual_seed(0)
    far = conv(2, 3, 3, 2, padding="far")
    assert isinstance(far, FarPadded)
    assert torch.equal(both.weight, far.weight)
    for size, equal in ((9, True), (8, False)):  # on an odd size both have one zero on each side
        x = torch.randn(1, 2, size, size)
        assert both(x).shape == far(x).shape
        assert torch.allclose(both(x), far(x)) is equal
    with pytest.raises(ConfigError, match=r"model\.padding=near; allowed are both, far"):
        conv(2, 3, 3, 2, padding="near")


def strided(model):
    net = attnlab.build(attnlab.config([f"model={model}"]))
    return [
        type(m)
        for m in net.modules()
        if isinstance(m, torch.nn.Conv2d) and m.stride == (2, 2) and m.kernel_size == (3, 3)
    ]


def test_who_pads_as_keras():
    assert strided("resnet50_cifar") == strided("mobilenet") == [FarPadded] * 2
    assert strided("resnet20") == [torch.nn.Conv2d] * 2  # He et al. 2016


def test_mobilenets_dropout_is_that_of_the_pooled_vector():
    backbone = attnlab.build(attnlab.config(["model=mobilenet", "model.width=0.25", "model.dropout=0.25"])).backbone
    x = torch.randn(2, 3, 16, 16)
    dropped = backbone.train()(x)["stage3"]
    pooled = dropped.mean(dim=(2, 3))
    zero = dropped.flatten(2).abs().amax(dim=2) == 0
    assert 0.1 < float(zero.float().mean()) < 0.5  # 512 draws; ReLU6 leaves some channels zero by itself
    backbone.dropout.p = 0.0
    kept = backbone(x)["stage3"].mean(dim=(2, 3))
    assert torch.allclose(pooled, torch.where(zero, 0.0, kept / 0.75), atol=1e-6)
    assert attnlab.build(attnlab.config(["model=mobilenet"])).backbone.dropout.p == 1e-3
    with pytest.raises(ConfigError, match=r"model\.dropout=1\.0; allowed is a number from 0 to below 1"):
        attnlab.build(attnlab.config(["model=mobilenet", "model.dropout=1.0"]))
