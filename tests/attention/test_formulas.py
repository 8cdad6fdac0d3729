"""SE and CBAM against their formulas, written out."""

import pytest
import torch
import torch.nn.functional as F

from attnlab.attention import Gate
from attnlab.attention.cbam import ChannelScore, SpatialScore, cbam
from attnlab.attention.checks import hidden
from attnlab.attention.masks import Attend
from attnlab.attention.se import SE
from attnlab.errors import ConfigError

X = torch.randn(2, 32, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_se():
    score = SE(32, reduction=8).double()
    w1, b1, w2, b2 = (
        score.excite.reduce.weight,
        score.excite.reduce.bias,
        score.excite.expand.weight,
        score.excite.expand.bias,
    )
    assert w1.shape == (4, 32)
    z = F.relu(X.mean((2, 3)) @ w1.T + b1) @ w2.T + b2
    y = X * torch.sigmoid(z).view(2, 32, 1, 1)
    assert torch.allclose(Gate(score, Attend())(X), y, rtol=1e-12)


def test_se_against_timm():
    """timm's SqueezeExcite with the same weights (1x1 convs there, linear layers here)."""
    from timm.layers import SqueezeExcite

    ours, theirs = Gate(SE(32, reduction=16), Attend()).double(), SqueezeExcite(32, rd_channels=2).double()
    with torch.no_grad():
        for mine, name in ((ours.score.excite.reduce, "fc1"), (ours.score.excite.expand, "fc2")):
            getattr(theirs, name).weight.copy_(mine.weight[:, :, None, None])
            getattr(theirs, name).bias.copy_(mine.bias)
    assert torch.allclose(ours(X), theirs(X), rtol=1e-12)


def test_cbam_channel_then_spatial():
    net = cbam(32, gate=lambda score: Gate(score, Attend()), reduction=8).double().eval()
    channel, spatial = net.channel.score, net.spatial.score
    torch.nn.init.constant_(spatial.norm.weight, 0.7)
    mc = torch.sigmoid(channel.excite(X.mean((2, 3))) + channel.excite(X.flatten(2).max(-1).values)).view(2, 32, 1, 1)
    x = X * mc
    planes = torch.stack([x.max(dim=1).values, x.mean(dim=1)], dim=1)
    ms = torch.sigmoid(spatial.norm(F.conv2d(planes, spatial.conv.weight, padding=3)))
    assert torch.allclose(net(X), x * ms, rtol=1e-12)


def test_planes_order_matters():
    a, b = SpatialScore(norm=False, planes="max-mean").double(), SpatialScore(norm=False, planes="mean-max").double()
    b.conv.weight.data.copy_(a.conv.weight.flip(1))
    assert torch.allclose(a(X), b(X), rtol=1e-12)
    b.conv.weight.data.copy_(a.conv.weight)
    assert not torch.allclose(a(X), b(X))


def test_the_official_spatial_mask_starts_at_one_half():
    assert torch.equal(torch.sigmoid(SpatialScore()(X.float())), torch.full((2, 1, 6, 5), 0.5))


def test_bad_knobs():
    with pytest.raises(ConfigError, match=r"attention\.reduction=33; allowed is an integer from 1 to 32, the chan"):
        ChannelScore(32, reduction=33)
    with pytest.raises(ConfigError, match=r"attention\.kernel_size=4; allowed are odd"):
        SpatialScore(kernel_size=4)
    with pytest.raises(ConfigError, match=r"attention\.apply=add; allowed are scale, residual"):
        Gate(SE(32), Attend(), apply="add")


@pytest.mark.parametrize(
    ("channels", "reduction", "least", "units"),
    [(24, 16, 1, 1), (168, 16, 1, 10), (31, 16, 1, 1), (32, 32, 1, 1), (48, 7, 1, 6), (16, 32, 8, 8), (300, 32, 8, 9)],
)
def test_a_ratio_that_does_not_divide_is_rounded_down(channels, reduction, least, units):
    """As the official codes: channels // reduction; coordinate attention's max(8, channels // reduction)."""
    assert hidden(channels, reduction, least) == units
    if least == 1:
        score = SE(channels, reduction=reduction)
        assert score.excite.reduce.weight.shape == (units, channels)


def test_residual_apply():
    score = SE(32)
    x = X.float()
    assert torch.allclose(Gate(score, Attend(), "residual")(x), x + Gate(score, Attend(), "scale")(x), atol=1e-6)
