"""Every family of backbones: the papers' parameter counts, features, places, paired initialisation."""

from functools import cache

import pytest
import torch

import attnlab
from attnlab.compose import choices
from attnlab.errors import ConfigError

ATTENTION = {"kernel": ["attention=sk"]}  # what takes the place; else SE
UNIT = ("pre", "kernel", "conv", "inner", "branch", "shortcut", "post", "stage")
#: a small net of each family -> its places, in the order in which a message lists them, and (C, H) of its features
FAMILIES = {
    "model=preact_resnet110 model.blocks=[1,1,1]": (UNIT, [(64, 32), (128, 16), (256, 8)]),
    "model=preact_resnet50 model.blocks=[1,1,2] model.widths=[16,32,64]": (UNIT, [(64, 32), (128, 16), (256, 8)]),
    "model=preresnet20 model.blocks=[1,1,1]": (
        ("pre", "kernel", "inner", "conv", "branch", "shortcut", "post", "stage"),
        [(16, 32), (32, 16), (64, 8)],
    ),
}
PLACES = [(family, place) for family, (places, _) in FAMILIES.items() for place in places]


def build(*overrides):
    return attnlab.build(attnlab.config([part for line in overrides for part in line.split()]))


@cache
def bare(family):
    """The state of the family without attention, at birth."""
    return build(family, "attention=none").state_dict()


COUNTS = [
    ("model=preact_resnet164 dataset=cifar10", 1_703_258),  # papers.md 2.4
    ("model=preact_resnet50 dataset=cifar100", 23_693_476),  # papers.md 5.1
    ("model=preact_resnet50 dataset=cifar100 attention=small_spatial", 23_694_212),
]


@pytest.mark.parametrize(("overrides", "expected"), COUNTS)
def test_parameter_counts_of_the_papers(overrides, expected):
    assert sum(p.numel() for p in build(overrides).parameters() if p.requires_grad) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_features(family):
    net = build(family)
    features = net.backbone(torch.randn(2, 3, 32, 32))
    assert [(f.shape[1], f.shape[2]) for f in features.values()] == FAMILIES[family][1]
    assert all(f.shape[2] == f.shape[3] for f in features.values())
    assert net.backbone.channels == {name: f.shape[1] for name, f in features.items()}
    assert all(torch.isfinite(f).all() for f in net.backbone(torch.randn(2, 3, 17, 17)).values())


@pytest.mark.parametrize(("family", "place"), PLACES)
def test_every_place_takes_attention_and_learns(family, place):
    reduction = [] if place == "kernel" else ["attention.reduction=4"]
    net = build(family, *ATTENTION.get(place, ["attention=se"]), f"attention.place={place}", *reduction)
    filled = tuple(f"{name}." for name, module in net.named_modules() if hasattr(module, "attention_place"))
    assert filled
    rest = {key: value for key, value in net.state_dict().items() if not key.startswith(filled)}
    assert rest.keys() <= bare(family).keys()
    assert place == "kernel" or rest.keys() == bare(family).keys()
    assert all(torch.equal(value, bare(family)[key]) for key, value in rest.items())
    net(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_sees_maps_of_the_size_it_was_told(family):
    """GE-theta's convolution is as large as the map; an odd image size shows who rounds otherwise."""
    for place in (place for place in FAMILIES[family][0] if place != "kernel"):
        build(family, "attention=ge_theta", f"attention.place={place}", "dataset.image_size=18").eval()(
            torch.randn(2, 3, 18, 18)
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_place_lists_the_places(family):
    listed = ", ".join(FAMILIES[family][0])
    with pytest.raises(ConfigError, match=rf"attention\.place=middle: \w+ has no such place; it has {listed}$"):
        build(family, "attention=se", "attention.place=middle")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["se", "cbam"])
def test_paired_initialisation(family, attention):
    """One seed: the weights outside the attention are those of `none`, bit for bit."""
    ours = build(family, f"attention={attention}", "attention.reduction=4").state_dict()
    assert len(ours) > len(bare(family))
    assert all(torch.equal(value, ours[key]) for key, value in bare(family).items())


@pytest.mark.parametrize("model", [name for name in choices("model") if name != "timm"])
def test_every_model_takes_se(model):
    """-m 'model=glob(*)' attention=se."""
    net = build(f"model={model}", "attention=se")
    assert any(hasattr(module, "attention_place") for module in net.modules())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("model=preresnet20 model.block=wide", r"model\.block=wide: allowed are basic, bottleneck"),
        ("model=preresnet20 model.shortcut=B", r"model\.shortcut=B: allowed are activated, raw"),
        ("model=preresnet20 model.strided=3", r"model\.strided=3: allowed are 1 .*, 2"),
        ("model=preresnet20 model.dropout=1", r"model\.dropout=1: allowed is a number from 0 to below 1"),
        ("model=preresnet20 model.blocks=3", r"model\.blocks=3: allowed is an integer from 1 for each stage"),
        ("model=preresnet20 model.blocks=[3,0,3]", r"model\.blocks=\[3, 0, 3\]: allowed is an integer from 1 for each"),
        ("model=preresnet20 model.widths=[16,32]", r"model\.widths=\[16, 32\]: allowed is an integer from 1 for each"),
        ("model=preact_resnet110 dataset=imagenet", r"dataset\.image_size=224: this model's stem .* 64 px"),
    ],
)
def test_bad_models(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build(overrides)
