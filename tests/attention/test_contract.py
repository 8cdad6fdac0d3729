"""Every conf/attention/*.yaml, under every mask it can carry, keeps the contract of an attention module."""

import pytest
import torch

from attnlab.compose import choices, compose_file, plain
from attnlab.slots import make_attention

SIZES = [(1, 1), (2, 3), (5, 9), (7, 7), (32, 32)]  # height, width: tiny, odd, non-square, usual
CHANNELS = 32
ATTENTIONS = choices("attention")
MASKS = choices("attention/mask")


def node(attention: str, mask: str | None = None) -> dict:
    overrides = [f"attention={attention}"] + ([f"attention/mask={mask}"] if mask else [])
    return plain(compose_file("run", overrides))["attention"]


CASES = [(name, None) for name in ATTENTIONS] + [
    (name, mask) for name in ("se", "cbam", "cbam_laakom2021") for mask in MASKS
]


def module(attention: str, mask: str | None, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    built = make_attention(node(attention, mask), CHANNELS)
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
        net = module(attention, mask)
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
    net = module(attention, mask)
    net(torch.randn(8, CHANNELS, 7, 7, requires_grad=True)).pow(3).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.abs().sum() > 0, f"{name} gets no gradient"


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
    x = torch.randn(2, CHANNELS, 5, 9)
    assert torch.equal(net(x), other(x))


@pytest.mark.parametrize(("attention", "mask"), CASES)
def test_at_birth_it_switches_no_features_off(attention, mask):
    torch.manual_seed(0)
    net = make_attention(node(attention, mask), CHANNELS)
    x = torch.randn(16, CHANNELS, 16, 16)
    ratio = float((net(x).std() / x.std()).detach())
    assert 0.05 < ratio <= 1.01
