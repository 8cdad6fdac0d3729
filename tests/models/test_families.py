"""A small net of every family of backbones: features, places, gradients, paired initialisation."""

from functools import cache

import pytest
import torch

import attnlab
from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.groups import choices
from attnlab.configuration.names import read_choice
from attnlab.errors import ConfigError

ATTENTION = {"kernel": ["attention=sk"]}  # what takes the place; else SE
BASIC = ("pre", "kernel", "inner", "conv", "branch", "shortcut", "post", "stage")
BOTTLENECK = ("pre", "kernel", "conv", "inner", "branch", "shortcut", "post", "stage")
#: a small net of each family -> its places, in the order in which a message lists them, and (C, H) of its features
FAMILIES = {
    "model=preact_resnet110 model.blocks=[1,1,1]": (BOTTLENECK, [(64, 32), (128, 16), (256, 8)]),
    "model=preact_resnet50 model.blocks=[1,1,2] model.widths=[16,32,64]": (BOTTLENECK, [(64, 32), (128, 16), (256, 8)]),
    "model=preresnet20 model.blocks=[1,1,1]": (BASIC, [(16, 32), (32, 16), (64, 8)]),
    "model=wrn16_8 model.depth=10 model.width=2 model.dropout=0.3": (BASIC, [(32, 32), (64, 16), (128, 8)]),
    "model=resnet18_stem3 model.blocks=[1,2] model.widths=[16,32]": (BASIC, [(16, 32), (32, 16)]),
    "model=resnet50_stem3 model.blocks=[1,2] model.widths=[16,32]": (BOTTLENECK, [(64, 32), (128, 16)]),
    "model=densenet40 model.depth=10": (
        ("pre", "inner", "conv", "dense", "branch", "stage", "transition"),
        [(48, 32), (72, 16), (96, 8)],
    ),
    "model=mobilenet model.width=0.25": (
        ("pre", "kernel", "inner", "conv", "block", "branch", "stage"),
        [(64, 32), (128, 16), (256, 8)],
    ),
    "model=mobilenet_v2": (BOTTLENECK, [(24, 32), (32, 16), (96, 8), (1280, 4)]),
    "model=vgg16_bn model.blocks=[1,1,1,1,1]": (
        ("kernel", "conv", "post", "branch", "stage"),
        [(64, 32), (128, 16), (256, 8), (512, 4), (512, 2), (512, 1)],
    ),
}
PLACES = [(family, place) for family, (places, _) in FAMILIES.items() for place in places]


def build(*overrides):
    return attnlab.build(attnlab.config([part for line in overrides for part in line.split()]))


@cache
def bare(family):
    """The state of the family without attention, at birth."""
    return build(family, "attention=none").state_dict()


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


@pytest.mark.parametrize("family", [family for family, (places, _) in FAMILIES.items() if "shortcut" in places])
def test_a_residual_branch_shows_attention_the_blocks_input(family):
    net = build(family, "attention=pse", "attention.reduction=4")
    net(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_place_lists_the_places(family):
    listed = ", ".join(FAMILIES[family][0])
    with pytest.raises(
        ConfigError, match=rf"attention\.place=middle; \w+ has no such place; it has {listed} \(attention=\w+\)$"
    ):
        build(family, "attention=se", "attention.place=middle")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["se", "cbam"])
def test_paired_initialisation(family, attention):
    """One seed: the weights outside the attention are those of `none`, bit for bit."""
    ours = build(family, f"attention={attention}", "attention.reduction=4").state_dict()
    assert len(ours) > len(bare(family))
    assert all(torch.equal(value, ours[key]) for key, value in bare(family).items())


def test_the_places_of_the_inverse_attention_code():
    """papers.md 1.3: five in DenseNet, thirteen in MobileNet; `branch`, the attentions' default, is all of them."""
    for model, here in (("densenet40", ["dense"] * 3 + ["transition"] * 2), ("mobilenet", ["block"] * 13)):
        net = build(f"model={model}", "attention=se_laakom2021")
        assert sorted(m.attention_place for m in net.modules() if hasattr(m, "attention_place")) == here
    for place, count in (("dense", 3), ("transition", 2), ("stage", 2)):
        net = build("model=densenet40", "attention=se_laakom2021", f"attention.place={place}")
        assert sum(hasattr(m, "attention_place") for m in net.modules()) == count


def test_mobilenets_initialisation_is_that_of_keras():
    """Uniform within sqrt(6 / (fan_in + fan_out)); of a depthwise kernel (3, 3, C, 1) Keras takes 9C and 9."""
    block = build("model=mobilenet").backbone.stages["stage3"][1]
    for layer, fans in ((block.conv1, 9 * 1024 + 9), (block.conv2, 2048)):
        limit = (6 / fans) ** 0.5
        assert 0.98 * limit < float(layer.weight.detach().abs().max()) <= limit
        assert float(layer.weight.detach().std()) == pytest.approx(limit / 3**0.5, rel=0.02)


REPLACING = {"axial", "cot", "epsa", "parnet", "sk", "split_attention"}  # a convolution
NO_PLACE = {"densenet40": {*REPLACING, "pse", "cpse"}, "mobilenet_v2": set()}


@cache
def of_model(model):
    return plain(compose_file("run", [f"model={model}"]))


@pytest.mark.parametrize("attention", choices("attention"))
@pytest.mark.parametrize("model", NO_PLACE)
def test_a_ratio_that_does_not_divide_is_rounded_down(model, attention):
    """r = 16 divides neither 168 nor 24 channels. What is refused still: FcaNet's 16 groups, and what has no place."""
    values = of_model(model) | {"attention": read_choice("attention", attention)}
    with torch.device("meta"):
        if attention == "fca":
            with pytest.raises(ConfigError, match=r"wrong number of channels, \d+; allowed are multiples of 16"):
                attnlab.build(values)
        elif attention in NO_PLACE[model]:
            with pytest.raises(ConfigError, match=rf"^wrong value attention\.place=.*\(attention={attention}\)$"):
                attnlab.build(values)
        else:
            net = attnlab.build(values)
            logits = net(torch.zeros(2, 3, 32, 32))
            assert logits.shape == (2, 10)
            filled = [module for module in net.modules() if hasattr(module, "attention_place")]
            assert len(filled) > 1 or attention == "none"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("model=preresnet20 model.block=wide", r"model\.block=wide; allowed are basic, bottleneck"),
        ("model=preresnet20 model.shortcut=B", r"model\.shortcut=B; allowed are activated, raw"),
        ("model=preresnet20 model.strided=3", r"model\.strided=3; allowed are 1 .*, 2"),
        ("model=preresnet20 model.dropout=1", r"model\.dropout=1; allowed is a number from 0 to below 1"),
        ("model=preresnet20 model.blocks=3", r"model\.blocks=3; allowed is an integer from 1 for each stage"),
        ("model=preresnet20 model.blocks=[3,0,3]", r"model\.blocks=\[3, 0, 3\]; allowed is an integer from 1 for each"),
        ("model=preresnet20 model.widths=[16,32]", r"model\.widths=\[16, 32\]; allowed is an integer from 1 for each"),
        ("model=wrn16_8 model.depth=20", r"model\.depth=20; allowed is 6n \+ 4"),
        ("model=wrn16_8 model.width=0", r"model\.width=0; allowed is an integer from 1"),
        ("model=resnet18_stem3 model.block=wide", r"model\.block=wide; allowed are basic, bottleneck"),
        ("model=resnet18_stem3 model.widths=[]", r"model\.widths=\[\]; allowed is an integer from 1 for each stage"),
        ("model=vgg16_bn model.blocks=[1,2]", r"model\.blocks=\[1, 2\]; allowed is an integer from 1 for each stage"),
        ("model=densenet40 model.depth=41", r"model\.depth=41; allowed is 3n \+ 4"),
        ("model=densenet40 model.growth=0", r"model\.growth=0; allowed is an integer from 1"),
        ("model=mobilenet model.width=0.01", r"model\.width=0\.01; allowed is a number from 0\.03125"),
        ("model=mobilenet model.init=he", r"init=he; allowed are fan_in, fan_out, glorot_uniform, or a standard"),
        ("model=preact_resnet110 dataset=imagenet", r"dataset\.image_size=224; this model's stem .* 64 px"),
    ],
)
def test_bad_models(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build(overrides)
