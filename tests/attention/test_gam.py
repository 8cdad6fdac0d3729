"""GAM against its formula, in its three forms. Its parameters: test_costs.py."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attnlab.attention.gam import gam
from tests.attention.test_zoo import X, gate, stirred


def test_gam():
    net = stirred(gam(32, gate=gate, reduction=8))
    z = net.channel.score(X)
    assert torch.allclose(z[0, :, 3, 4], net.channel.score.excite(X[0, :, 3, 4]), rtol=1e-9)
    assert [tuple(m.weight.shape) for m in net.spatial.score if isinstance(m, nn.Conv2d)] == [
        (4, 32, 7, 7),
        (32, 4, 7, 7),
    ]


@pytest.mark.parametrize(("norm", "names"), [(None, "CBRCB"), ("hidden", "CBRC"), ("none", "CRC")])
def test_gam_norms(norm, names):
    """The parts of its spatial branch, and what they compute together."""
    score = stirred(gam(32, gate=gate, reduction=8, norm=norm)).spatial.score
    kinds = {nn.Conv2d: "C", nn.BatchNorm2d: "B", nn.ReLU: "R"}
    assert "".join(kinds[type(part)] for part in score) == names
    convs = [part for part in score if isinstance(part, nn.Conv2d)]
    norms = [part for part in score if isinstance(part, nn.BatchNorm2d)] + [nn.Identity()] * 2
    between = F.relu(norms[0](F.conv2d(X, convs[0].weight, padding=3)))
    assert torch.allclose(score(X), norms[1](F.conv2d(between, convs[1].weight, padding=3)), rtol=1e-10)
