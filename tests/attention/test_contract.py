"""Every conf/attention/*.yaml, under every mask it can carry, keeps the contract of an attention module."""

from functools import cache
from inspect import signature

import pytest
import torch

from attnlab.attention.placement import make_attention
from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.groups import choices
from attnlab.configuration.names import read_choice
from attnlab.configuration.targets import target
from attnlab.evaluation.mask_recorder import record_masks

SIZES = [(1, 1), (2, 3), (5, 9), (7, 7), (32, 32)]  # height, width: tiny, odd, non-square, usual
CHANNELS = 32
ATTENTIONS = choices("attention")
MASKS = choices("attention/mask")


@cache
def node(attention: str, mask: str | None = None) -> dict:
    if mask is None:
        return read_choice("attention", attention)  # as composed (test_config.py), in a tenth of the time
    return plain(compose_file("run", [f"attention={attention}", f"attention/mask={mask}"]))["attention"]


#: scores whose inverse no yaml names: the mask group makes it
INVERTED = [
    name for name in ATTENTIONS if node(name).get("mask") and "laakom" not in name and name not in ("ise", "icbam")
]
#: those that ask for the size of the maps: a convolution as large as the map
WHOLE_MAP = [name for name in ATTENTIONS if "size" in signature(target(node(name), "attention")).parameters]
CASES = (
    [(name, None) for name in ATTENTIONS]
    + [(name, mask) for name in ("se", "cbam", "cbam_laakom2021") for mask in MASKS]
    + [(name, "ignore") for name in INVERTED if name not in ("se", "cbam")]
)


def made(attention: str, mask: str | None, size: int = 8, channels: int = CHANNELS) -> torch.nn.Module:
    """As a backbone would: with all that its slot tells."""
    chosen = node(attention, mask)
    known = {"size": size, "in_channels": channels}
    return make_attention(chosen, channels, **known | ({"stride": 1} if chosen.get("place") == "kernel" else {}))


def module(attention: str, mask: str | None, seed: int = 0, size: int = 8, channels: int = CHANNELS) -> torch.nn.Module:
    torch.manual_seed(seed)
    built = made(attention, mask, size, channels)
    with torch.no_grad():  # away from the symmetric start, where CBAM's BN weight of 0 stops every gradient
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return built


def test_the_yamls_are_found():
    assert len(ATTENTIONS) >= 20
    assert len(MASKS) >= 13


@pytest.mark.parametrize(("attention", "mask"), CASES)
def test_shapes_gradients_modes(attention, mask):
    for height, width in SIZES:
        net = module(attention, mask, size=height)
        if attention in WHOLE_MAP and height != width:
            with pytest.raises(ValueError, match=rf"{height}x{height} map it was\s+built for, the map here is"):
                net(torch.randn(3, CHANNELS, height, width))
            continue
        x = torch.randn(3, CHANNELS, height, width, requires_grad=True)
        y = net(x)
        assert y.shape == x.shape
        assert torch.isfinite(y).all()
        y.square().sum().backward()
        assert torch.isfinite(x.grad).all()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
        net.eval()
        with torch.no_grad():
            assert torch.equal(net(x), net(x))


@pytest.mark.parametrize(("attention", "mask"), CASES)
def test_every_parameter_learns(attention, mask):
    for channels in (16, CHANNELS):  # 16: the first stage of the CIFAR ResNets, where a ratio of 16 leaves one unit
        sums: dict[str, float] = {}
        for seed in range(4):  # that unit is dead for some draws; not for all
            net = module(attention, mask, seed=seed, size=7, channels=channels)
            net(torch.randn(8, channels, 7, 7, requires_grad=True)).pow(3).sum().backward()
            for name, parameter in net.named_parameters():
                sums[name] = sums.get(name, 0.0) + float(parameter.grad.abs().sum())
        assert not [name for name, total in sums.items() if not total > 1e-9], "get no gradient"


@pytest.mark.parametrize(("attention", "mask"), CASES)
def test_bf16_and_channels_last(attention, mask):
    net = module(attention, mask).eval()
    x = torch.randn(2, CHANNELS, 8, 8)
    y = net(x)
    last = net(x.to(memory_format=torch.channels_last))
    assert torch.allclose(y, last, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        low = net(x.bfloat16())
    assert low.dtype == torch.bfloat16
    if mask not in ("hard", "reciprocal_raw") and "reciprocal_raw" not in attention:  # both jump where z crosses 0
        assert torch.allclose(y, low.float(), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(("attention", "mask"), CASES)
def test_one_graph_and_export(attention, mask):
    net = module(attention, mask).eval()
    x = torch.randn(2, CHANNELS, 8, 8)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(x), net(x), atol=1e-6)
    exported = torch.export.export(net, (x,)).module()
    assert torch.allclose(exported(x), net(x), atol=1e-6)
    torch._dynamo.reset()


@pytest.mark.parametrize(("attention", "mask"), CASES)
def test_state_dict_round_trip(attention, mask):
    net, other = module(attention, mask, seed=0).eval(), module(attention, mask, seed=1).eval()
    other.load_state_dict(net.state_dict())
    x = torch.randn(2, CHANNELS, 8, 8)
    assert torch.equal(net(x), other(x))


@pytest.mark.parametrize("attention", [name for name in ATTENTIONS if node(name).get("mask")])
def test_its_masks_can_be_recorded(attention):
    """One score and mask per gate, with an axis for images, channels, rows and columns."""
    net = module(attention, None).eval()
    x = torch.randn(2, CHANNELS, 8, 8)
    with record_masks(net) as masks:
        net(x)
    assert masks
    for name, recorded in masks.items():
        assert recorded.z.dim() == 4, name
        assert recorded.m.shape == recorded.z.shape, name
        assert all(size <= most for size, most in zip(recorded.m.shape, x.shape, strict=True)), name


#: relu, tanh and the identity of a score near 0 do: what the SE paper's ablation shows of the first two
KEEPING = [(attention, mask) for attention, mask in CASES if mask not in ("relu", "tanh", "linear")]
#: y = x (1 + m), and the sum of two gates
DOUBLING = ("bam", "bam_official", "bams", "polarized_parallel")


@pytest.mark.parametrize(("attention", "mask"), KEEPING)
def test_at_birth_it_switches_no_features_off(attention, mask):
    torch.manual_seed(0)
    net = made(attention, mask, size=16)
    x = torch.randn(16, CHANNELS, 16, 16)
    ratio = float((net(x).std() / x.std()).detach())
    assert 0.05 < ratio <= (2.01 if attention in DOUBLING else 1.01)
