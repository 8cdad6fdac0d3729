"""A linear classifier on frozen features."""

import numpy as np
import pytest
import torch

import attnlab
from attnlab.errors import ConfigError
from attnlab.evaluation.metrics.linear_probe import features, linear_error

X = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_features_are_what_the_last_layer_sees():
    net = attnlab.build(attnlab.config(["model=resnet8"])).eval()
    found = features(net, [X[:4], X[4:]], 10)
    by_hand = net.backbone(X)["stage3"].mean(dim=(2, 3)).detach().numpy()
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-5)


def test_the_vectors_of_all_levels_are_joined():
    for combine, width in (("concat", 32 + 64), ("indep_logits", 32 + 64)):
        net = attnlab.build(attnlab.config(["model=resnet8", "head=ltpa", "head.levels=2", "head.project=global",
                                            f"head.combine={combine}"])).eval()  # fmt: skip
        assert features(net, [X], 10).shape == (6, width)


def test_no_linear_layer_is_an_error():
    with pytest.raises(ConfigError, match="no linear layer with 7 outputs"):
        features(attnlab.build(attnlab.config(["model=resnet8"])), [X], 7)


def test_linear_error_tells_features_from_noise():
    random = np.random.default_rng(0)
    labels = torch.arange(300) % 3
    noise = random.normal(size=(300, 5))
    good = noise + 4 * np.eye(5)[labels.numpy()]
    assert float(linear_error(good[:200], labels[:200], good[200:], labels[200:]).mean()) < 0.05
    assert float(linear_error(noise[:200], labels[:200], noise[200:], labels[200:]).mean()) > 0.4
