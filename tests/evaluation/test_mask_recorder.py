"""The recorder records every mask and does not change outputs, state or the compiled graph."""

import copy

import pytest
import torch
from torch import nn

import attnlab
from attnlab.evaluation.mask_recorder import mask_modules, record_masks, replace_masks

X = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def built(*overrides):
    return attnlab.build(attnlab.config(["model=resnet8", *overrides])).eval()


@pytest.mark.parametrize(
    ("overrides", "kinds"),
    [
        (["attention=none"], []),
        (["attention=se"], ["channel"] * 3),
        (["attention=se", "attention.start=identity"], ["channel"] * 3),
        (["attention=cbam"], ["channel", "spatial"] * 3),
        (["attention=sge"], ["both"] * 3),
        (["attention=bam"], ["both"] * 2),
        (["attention=coordinate"], ["rows", "columns"] * 3),
        (["attention=small_spatial", "attention/mask=ignore"], ["spatial"] * 3),
        (["attention=gc"], ["spatial"] * 3),
        (["attention=se", "head=ltpa"], ["channel"] * 3 + ["spatial"] * 2),
        (["model=vgg_pan", "head=ltpa_pan"], ["spatial"] * 2),
    ],
)
def test_sees_every_mask(overrides, kinds):
    net = built(*overrides)
    with record_masks(net) as seen:
        net(X)
    assert list(seen) == list(mask_modules(net))
    assert [one.kind for one in seen.values()] == kinds
    for name, one in seen.items():
        assert torch.equal(one.m, mask_modules(net)[name](one.z)), name
        assert not one.m.requires_grad


def test_what_is_seen_is_what_multiplies():
    net = built("attention=small_spatial")
    gate = net.get_submodule("backbone.stage1.0.at_branch")
    given = {}
    gate.register_forward_hook(lambda module, x, y: given.update(x=x[0], y=y))
    with torch.no_grad(), record_masks(net) as seen:
        net(X)
    assert torch.equal(given["x"] * seen["backbone.stage1.0.at_branch"].m, given["y"])


def test_leaves_the_network_as_it_was():
    for training in (False, True):
        net = built("attention=cbam", "head=ltpa").train(training)
        twin = copy.deepcopy(net)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        torch.manual_seed(0)  # of the head's dropout
        expected = twin(X)
        torch.manual_seed(0)
        with record_masks(net) as seen:
            found = net(X)
        assert seen
        assert torch.equal(found, expected)
        assert net.training is training
        assert list(net.state_dict()) == list(before)
        assert all(torch.equal(value, before[name]) for name, value in twin.state_dict().items()) or training
        assert all(
            torch.equal(a, b) for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True)
        )
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_gradients_are_the_same_beside_it():
    net = built("attention=cbam").train()
    twin = copy.deepcopy(net)
    twin(X).square().sum().backward()
    with record_masks(net):
        net(X).square().sum().backward()
    for mine, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)


def test_hooks_go_even_after_an_error():
    net = built("attention=se")
    with pytest.raises(RuntimeError), record_masks(net):
        net(torch.zeros(1, 5, 8, 8))
    assert not any(module._forward_hooks for module in net.modules())


def test_the_compiled_graph_is_unchanged():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph.code)
        return graph.forward

    net = built("attention=cbam")
    expected = net(X)
    net.compile(backend=backend)
    torch._dynamo.reset()
    assert torch.equal(net(X), expected)
    assert len(graphs) == 1
    with record_masks(net) as seen:
        assert torch.equal(net(X), expected)
    assert len(seen) == 6  # seen although the compiled graph knows no hooks
    assert torch.equal(net(X), expected)
    assert len(graphs) == 1  # not compiled again, neither inside the context nor after it
    torch._dynamo.reset()
    net(X)
    assert graphs[1] == graphs[0]


def test_replaced_holds_a_gate_still():
    net = built("attention=se")
    name = "backbone.stage2.0.at_branch"
    one = torch.ones(1, 32, 1, 1)
    plain = copy.deepcopy(net)
    plain.backbone.stage2[0].at_branch = nn.Identity()
    with torch.no_grad():
        with replace_masks(net, {name: one}), record_masks(net) as seen:
            assert torch.allclose(net(X), plain(X), atol=1e-6)
        assert torch.equal(seen[name].m, one.expand(4, -1, -1, -1))
        assert not torch.allclose(net(X), plain(X), atol=1e-3)
