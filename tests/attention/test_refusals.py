"""What the modules refuse: one message each, with the key, its value and what is allowed."""

import pytest
import torch

import attnlab
from attnlab.attention.placement import make_attention
from attnlab.configuration.compose import compose_file, plain
from attnlab.errors import ConfigError


def made(attention, channels, *overrides, **known):
    node = plain(compose_file("run", [f"attention={attention}", *overrides]))["attention"]
    return make_attention(node, channels, **known)


REPLACES = {"in_channels": 64, "stride": 1, "size": 8}
REFUSED = [
    ("ema", 64, "groups=5", {}, "attention.groups=5: must divide 64 channels"),
    (
        "shuffle_attention",
        24,
        "groups=8",
        {},
        "wrong value attention.groups=8; allowed is one of 1, 2, 3, 4, 6, 12: 2 G",
    ),
    ("shuffle_attention", 33, None, {}, "wrong channels for attention=shuffle_attention: 33; allowed are even numbers"),
    ("polarized_parallel", 64, "order=both", {}, "wrong value attention.order=both; allowed is parallel or sequential"),
    ("epsa", 62, None, REPLACES, "wrong value attention.place=kernel; allowed is a place with 4 n channels; 62 here"),
    ("epsa", 64, "reduction=0", REPLACES, "wrong value attention.reduction=0; allowed is an integer from 1"),
    ("danet", 64, "parts=rows", {}, "wrong value attention.parts=rows; allowed is position, channel, or null (both)"),
    ("criss_cross", 64, "recurrence=0", {}, "wrong value attention.recurrence=0; allowed is an integer from 1"),
    ("ela", 64, "kernel_size=4", {}, "wrong value attention.kernel_size=4; allowed are odd numbers from 1"),
    (
        "split_attention",
        64,
        "groups=3",
        REPLACES,
        "wrong value attention.groups=3; allowed is G that divides 64 and 32",
    ),
    ("cot", 60, None, REPLACES, "wrong value attention.place=kernel; allowed is a place with 8 n channels; 60 here"),
    ("external", 64, "units=0", {}, "wrong value attention.units=0; allowed is an integer from 1"),
    ("scsa", 62, None, {}, "wrong channels for attention=scsa: 62; allowed are multiples of 4"),
    ("scsa", 64, "heads=5", {}, "wrong value attention.heads=5; allowed is a divisor of 64, the channels here"),
    ("lska", 64, "kernel_size=9", {}, "wrong value attention.kernel_size=9; allowed is one of 7, 11, 23, 35, 41, 53"),
    ("mlca", 64, "local=2", {}, "wrong value attention.local=2; allowed is a number from 0 to 1"),
    ("soca", 64, "iterations=1", {}, "wrong value attention.iterations=1; allowed is an integer from 2"),
    ("axial", 64, "heads=5", REPLACES, "wrong value attention.heads=5; allowed is an integer n where 2 n divides 64"),
]


@pytest.mark.parametrize(("attention", "channels", "knob", "known", "message"), REFUSED)
def test_a_wrong_value_is_one_message(attention, channels, knob, known, message):
    with pytest.raises(ConfigError) as refused:
        made(attention, channels, *([f"attention.{knob}"] if knob else []), **known)
    assert str(refused.value).startswith(message)
    assert str(refused.value).endswith(f"(attention={attention})")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("attention", "size"), [("nam_spatial", 7), ("nam_spatial", 9), ("axial", 9)])
def test_a_map_of_another_size_is_one_message(attention, size):
    known = REPLACES if attention == "axial" else {"size": 8}
    with pytest.raises(ConfigError, match=rf"^wrong map for attention={attention}: .* {size}x{size}$"):
        made(attention, 64, **known)(torch.randn(2, 64, size, size))


def test_axial_takes_smaller_maps_by_the_middle_of_its_table():
    """At a distance that both maps have, the same weights are used."""
    large = made("axial", 16, in_channels=16, stride=1, size=8)
    small = made("axial", 16, in_channels=16, stride=1, size=5)
    for axis in ("columns", "rows"):
        state = getattr(large, axis).state_dict()
        getattr(small, axis).load_state_dict(state | {"distances": state["distances"][:, 3:12]})
    x = torch.randn(2, 16, 5, 5)
    assert torch.allclose(large.eval()(x), small.eval()(x), atol=1e-6)


@pytest.mark.parametrize("attention", ["epsa", "split_attention", "cot", "parnet", "axial"])
def test_modules_that_replace_a_convolution_take_its_stride(attention):
    """In ResNet-8 the first convolution of two stages changes the channels and halves the map."""
    net = attnlab.build(attnlab.config(["model=resnet8", f"attention={attention}"]))
    block = net.backbone.stage2[0]
    assert isinstance(block.conv1, torch.nn.Identity)
    net(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    for shape in ((2, 16, 5, 9), (2, 16, 8, 8), (2, 16, 1, 1)):
        height, width = (-(-size // 2) for size in shape[2:])
        assert block.at_kernel(torch.randn(*shape)).shape == (2, 32, height, width)
    with pytest.raises(ConfigError, match=r"has no mask and no inverse, it replaces a convolution"):
        attnlab.build(attnlab.config(["model=resnet8", f"attention={attention}", "+attention/mask=ignore"]))
