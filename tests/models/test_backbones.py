"""Backbones: named features, slots, paired initialisation, what is refused."""

import re

import pytest
import torch

import attnlab
from attnlab.configuration.groups import choices
from attnlab.errors import ConfigError

CIFAR = [name for name in choices("model") if re.fullmatch(r"resnet\d+(_cifar)?", name)]
PLACES = ["pre", "inner", "conv", "branch", "shortcut", "post", "stage"]
TIMM = ["model=timm", "dataset.image_size=64"]


def build(*overrides):
    return attnlab.build(attnlab.config(list(overrides)))


@pytest.mark.parametrize("model", CIFAR)
def test_features_and_slots(model):
    net = build(f"model={model}", "attention=se")
    assert len(CIFAR) == 8
    depth = 50 if model == "resnet50_cifar" else int(model.removeprefix("resnet"))
    filled = [m for m in net.modules() if getattr(m, "attention_place", None) == "branch"]
    assert len(filled) == (depth - 2) // 2
    features = net.backbone(torch.randn(2, 3, 32, 32))
    assert {name: tuple(f.shape[1:]) for name, f in features.items()} == {
        "stage1": (16, 32, 32), "stage2": (32, 16, 16), "stage3": (64, 8, 8),
    }  # fmt: skip
    assert net.backbone.channels == {name: f.shape[1] for name, f in features.items()}


@pytest.mark.parametrize("place", PLACES)
def test_every_place_takes_attention_and_learns(place):
    net = build("model=resnet8", "attention=se", f"attention.place={place}")
    used = {getattr(m, "attention_place", None) for m in net.modules()} - {None}
    assert used == {place}
    net(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    plain = build("model=resnet8", "attention=none").state_dict()
    added = net.state_dict().keys() - plain.keys()
    assert plain.keys() <= net.state_dict().keys()
    assert added
    assert all(f"at_{place}" in key for key in added)


def test_places_gate_different_things():
    """One seed, one image: the seven places give seven different outputs."""
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    outputs = [build("model=resnet8", "attention=se", f"attention.place={p}").eval()(x) for p in PLACES]
    for i, a in enumerate(outputs):
        assert not any(torch.allclose(a, b) for b in outputs[i + 1 :])


def test_an_unknown_place_lists_the_places():
    with pytest.raises(
        ConfigError, match=r"attention\.place=middle; .* pre, kernel, inner, conv, branch, shortcut, post, stage"
    ):
        build("attention=se", "attention.place=middle")


@pytest.mark.parametrize("model", ["model=resnet20", "model=timm model.name=resnet18 dataset=imagenet"])
@pytest.mark.parametrize("attention", ["se", "cbam", "ise"])
def test_paired_initialisation(model, attention):
    """One seed: the weights outside the attention are those of `none`, bit for bit."""
    bare = build(*model.split(), "attention=none").state_dict()
    with_attention = build(*model.split(), f"attention={attention}").state_dict()
    assert len(with_attention) > len(bare)
    for key, value in bare.items():
        assert torch.equal(value, with_attention[key]), key


def test_attention_modules_do_not_share_their_draws():
    net = build("model=resnet20", "attention=se")
    kernels = [m.score.excite.reduce.weight for m in net.modules() if hasattr(m, "attention_place")]
    assert not torch.equal(kernels[0], kernels[1])


def test_seeds_differ_and_repeat_and_leave_the_caller_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    a, b, c = build("seed=0"), build("seed=0"), build("seed=1")
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.backbone.conv.weight, b.backbone.conv.weight)
    assert not torch.equal(a.backbone.conv.weight, c.backbone.conv.weight)


def test_timm_resnet50_with_attention_of_ours():
    net = build("model=timm", "model.name=resnet50", "attention=se", "dataset=imagenet")
    filled = [m for m in net.modules() if getattr(m, "attention_place", None)]
    assert len(filled) == 16
    features = net.backbone(torch.randn(1, 3, 64, 64))
    assert list(features) == ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert [f.shape[1] for f in features.values()] == list(net.backbone.channels.values())
    assert features["stage4"].shape[1:] == (2048, 2, 2)
    # 25.56M of ResNet-50, and 2.5M of SE at r = 16 (papers.md 6)
    total = sum(p.numel() for p in net.parameters())
    assert total == 25_557_032 + 2_530_992


def test_timm_keeps_our_own_initialisation():
    net = build("model=timm", "model.name=resnet18", "attention=cbam", "dataset=imagenet")
    spatial = [m.norm.weight for n, m in net.named_modules() if n.endswith("spatial.score")]
    assert len(spatial) == 8
    assert all(float(w.detach()) == 0 for w in spatial)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.depth=21"], r"model\.depth=21; allowed is 6n \+ 2"),
        (["model.shortcut=C"], r"model\.shortcut=C; allowed are A"),
        (["model=resnet20", "dataset=imagenet"], r"dataset\.image_size=224; this model's stem .* 64 px"),
        (["model=timm"], r"dataset\.image_size=32; .* at least 64 px \(model\.min_image_size=64\)"),
        (["model=timm", "dataset=imagenet", "dataset.image_size=63"], r"dataset\.image_size=63; .* at least 64 px"),
        ([*TIMM, "model.name=resnet5000"], r"unknown choice model\.name=resnet5000; did you mean resnet50"),
        ([*TIMM, "model.name=vit_tiny_patch16_224"], r"model\.name=vit_tiny_patch16_224; allowed is a CNN of timm"),
        (
            [*TIMM, "attention=se", "attention.place=dense"],
            r"attention\.place=dense; TimmResNet .* pre, kernel, conv, inner, branch, shortcut, post, stage",
        ),
        (
            ["attention=se", "attention.reduction=64"],
            r"wrong value attention\.reduction=64; allowed is an integer from 1 to 16, the channels here",
        ),
        (["attention=sge", "attention.groups=7"], r"attention\.groups=7: must divide 16 channels"),
        (["attention=fca", "attention.reduction=17"], r"wrong value attention\.reduction=17; allowed is .* 1 to 16"),
        (["attention=fca", "model=mobilenet_v2"], r"wrong number of channels, 24; allowed are multiples of 16"),
        (["attention=gam", "attention.groups=4"], r"attention\.groups=4: must divide 1 channels"),
        (
            ["attention=gam", "attention.norm=both"],
            r"wrong value attention\.norm=both; allowed are hidden, none, null",
        ),
        (
            ["attention=se", "attention.place=kernel"],
            r"wrong value attention\.place=kernel; it cannot take",
        ),
        (["attention=sk", "attention.place=post"], r"wrong value attention\.place=post; this place has no in_"),
        (["attention=pse", "model=vgg16_bn"], r"wrong value attention\.place=branch; this place has no"),
        (
            ["attention=se", "attention.place=null"],
            r"wrong value attention\.place=null; allowed in ResNet are pre, ker",
        ),
        (
            ["attention=sk", "attention.reduction=0"],
            r"wrong value attention\.reduction=0; allowed is an integer from 1 \(attention=sk\)$",
        ),
        (
            ["attention=coordinate", "attention.reduction=-4"],
            r"wrong value attention\.reduction=-4; allowed is an integer from 1 \(attention=coordinate\)$",
        ),
        (
            ["attention=bam", "attention.dilation=0"],
            r"wrong value attention\.dilation=0; allowed is an integer from 1",
        ),
        (["attention=non_local", "attention.pool=0"], r"wrong value attention\.pool=0; allowed is an integer"),
        (["attention=se", "attention.mask=null"], r"wrong value attention\.mask=null; attention/mask=NAME sets it"),
        (
            ["attention=simam", "attention.regularization=nan"],
            r"^wrong value attention\.regularization=nan; allowed is a finite number$",
        ),
        (
            ["attention=se", "attention.init_std=inf"],
            r"^wrong value attention\.init_std=inf; allowed is a finite number$",
        ),
        (
            ["attention=se", "attention/mask=reciprocal", "attention.mask.eps=-1"],
            r"wrong value attention\.mask\.eps=-1.*; allowed is a number above 0",
        ),
        (
            ["attention=gc", "attention/mask=ignore"],
            r"^unknown group attention/mask; attention=gc has no mask, as only gates have one$",
        ),
        (["attention=gc", "+attention/mask=ignore"], r"unknown key attention\.mask; .* it adds to its input"),
        (["attention=sk", "+attention/mask=ignore"], r"unknown key attention\.mask; .* it replaces a convolution"),
    ],
)
def test_bad_models(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build(*overrides)
