"""attention.draw: a twin, the same attention with other initial weights in the same backbone."""

import pytest
import torch

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.groups import choices
from attnlab.configuration.identity import run_id
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError

ATTENTIONS = [name for name in choices("attention") if name != "none"]


def build(*overrides):
    return attnlab.build(attnlab.config(["model=resnet8", *overrides]))


def halves(net):
    """The net's tensors by name: those of attention, and all others."""
    inside = tuple(f"{name}." for name, module in net.named_modules() if hasattr(module, "attention_place"))
    state = net.state_dict()
    return {k: v for k, v in state.items() if k.startswith(inside)}, {
        k: v for k, v in state.items() if not k.startswith(inside)
    }


def equal(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_twin_has_other_attention_in_the_same_net(attention):
    """Or is refused: where two seeds give one attention, so would two draws."""
    own, rest = halves(build(f"attention={attention}"))
    if equal(own, halves(build(f"attention={attention}", "seed=1"))[0]):
        with pytest.raises(ConfigError) as told:
            build(f"attention={attention}", "attention.draw=1")
        assert str(told.value) == (
            "wrong value attention.draw=1; none of its weights is drawn at random, so this twin would be "
            f"the same run under another id; allowed is null (attention={attention})"
        )
        return
    first, second = (halves(build(f"attention={attention}", f"attention.draw={draw}")) for draw in (1, 2))
    assert not equal(own, first[0])
    assert not equal(own, second[0])
    assert not equal(first[0], second[0])
    assert equal(rest, first[1])
    assert equal(rest, second[1])
    assert equal(first[0], halves(build(f"attention={attention}", "attention.draw=1"))[0])


def test_some_have_no_twin():
    """By name, so that the test above cannot pass by refusing all."""
    for attention, refused in (("simam", True), ("ge_theta_minus", True), ("se", False), ("cbam", False)):
        try:
            build(f"attention={attention}", "attention.draw=1")
        except ConfigError:
            assert refused
        else:
            assert not refused


def test_no_weight_of_a_twin_is_that_of_another_slot():
    """Streams of slots and of draws never meet."""
    kernels = []
    for draw in ("null", 1, 2, 3):
        own, _ = halves(build("attention=se", f"attention.draw={draw}", "model=resnet20"))
        kernels += [tensor.flatten()[:8] for name, tensor in own.items() if name.endswith("reduce.weight")]
    assert len(kernels) == 36
    directions = torch.stack([kernel / kernel.norm() for kernel in kernels])
    assert float((directions @ directions.T - torch.eye(36)).abs().max()) < 0.999


def test_in_every_place_and_start_and_without_memory():
    for more in (["attention.place=pre"], ["attention.stages=[2]"], ["attention.start=identity"]):
        (own, rest), (other, others) = (
            halves(build("attention=se", *more, f"attention.draw={draw}")) for draw in ("null", 1)
        )
        assert not equal(own, other)
        assert equal(rest, others)
    with torch.device("meta"):
        assert sum(p.numel() for p in build("attention=se", "attention.draw=1").parameters()) > 0
        with pytest.raises(ConfigError, match=r"attention\.draw=1; none of its weights"):
            build("attention=simam", "attention.draw=1")


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    build("attention=se", "attention.draw=1")
    assert torch.equal(before, torch.get_rng_state())


def test_null_is_no_key_and_none_has_no_draw():
    cfg = plain(attnlab.config(["attention=se"]))
    assert cfg["attention"].pop("draw") is None
    assert run_id(cfg) == run_id(attnlab.config(["attention=se"]))
    attnlab.build(cfg)  # as of a config.yaml from before the key
    twin = attnlab.config(["attention=ise", "attention.draw=1"])
    assert run_id(twin) != run_id(attnlab.config(["attention=ise"]))
    assert run_id(twin) != run_id(attnlab.config(["attention=ise", "attention.draw=2"]))
    assert name_of("attention", plain(twin)["attention"]) == "ise draw=1"
    none = attnlab.config(["attention=none", "attention.draw=1"])
    assert run_id(none) == run_id(attnlab.config([]))
    assert name_of("attention", plain(none)["attention"]) == "none"
    assert equal(halves(attnlab.build(none))[1], halves(attnlab.build(attnlab.config([])))[1])


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x"])
def test_what_a_draw_may_be(value):
    with pytest.raises(
        ConfigError, match=rf"^wrong value attention\.draw={value}; allowed is an integer from 1, or null$"
    ):
        build("attention=se", f"attention.draw={value}")
