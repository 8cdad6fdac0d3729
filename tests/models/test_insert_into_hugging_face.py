"""insert_attention on a network of Hugging Face's transformers, whose output is no tensor."""

import pytest
import torch
from torch import nn

import attnlab

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture
def net():
    """A ResNet of two stages with one block each."""
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=5
    )
    return transformers.ResNetForImageClassification(config).eval()


@pytest.mark.parametrize("attention", ["se", "cbam"])
def test_it_begins_as_the_net_learns_is_exported_and_gives_it_back(net, attention):
    images, labels, keys = torch.randn(4, 3, 32, 32), torch.arange(4), list(net.state_dict())
    with torch.no_grad():
        before = net(images).logits
    names = attnlab.insert_attention(
        net, attention, after="resnet.encoder.stages.*.layers.*.layer", start="identity", reduction=4
    )
    assert names == [f"resnet.encoder.stages.{stage}.layers.0.layer.1" for stage in (0, 1)]
    with torch.no_grad():
        assert torch.equal(net(images).logits, before)
    with attnlab.record_masks(net) as masks:
        net(images)
    assert len(masks) == {"se": 2, "cbam": 4}[attention]
    optimizer = torch.optim.AdamW(net.train().parameters(), lr=2e-3)
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(net(images).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(net.get_submodule(f"{name}.at_end").amount != 0 for name in names)
    net.eval()
    with torch.no_grad():
        trained = net(images).logits
        exported = torch.export.export(net, (images,)).module()
        torch.testing.assert_close(exported(images).logits, trained, rtol=1e-4, atol=1e-5)
    assert sorted(attnlab.remove_attention(net)) == sorted(names)
    assert list(net.state_dict()) == keys
