"""Fused gates equal their plain form, keep no second feature map, and say so where they cannot go."""

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from attnlab.attention.gate import Gate, plain
from attnlab.attention.placement import make_attention
from attnlab.configuration.compose import compose_file
from attnlab.configuration.compose import plain as values
from attnlab.evaluation.mask_recorder import record_masks
from attnlab.machine.kernels import compile, gates, passes

GATES = (
    "se",
    "se attention.squeeze=max",
    "ise",
    "eca",
    "ge_theta_minus",
    "cbam",
    "icbam",
    "cbam_laakom2021",
    "cbam attention.order=spatial-channel",
    "cbam attention.order=channel attention.squeeze=avg",
    "cbam attention.order=spatial attention.kernel_size=3",
    "se attention.apply=residual",
    "coordinate",
    "se attention/mask=reciprocal",
)
LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "strided": lambda x: torch.cat([x, x], dim=3)[..., ::2],
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
}


@cache
def node(name: str) -> dict:
    return values(compose_file("run", [f"attention={name.split()[0]}", *name.split()[1:]]))["attention"]


def made(name: str, channels: int = 16) -> nn.Module:
    torch.manual_seed(1)
    module = make_attention(node(name), channels)
    with torch.no_grad():
        for parameter in module.parameters():  # away from CBAM's start, where no gradient reaches the map
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def run(module: nn.Module, x: Tensor, dy: Tensor) -> dict[str, Tensor]:
    """Output and every gradient."""
    module = copy.deepcopy(module)
    x = x.detach().requires_grad_()
    y = module(x)
    y.backward(dy)
    assert x.grad is not None
    found = {"y": y.detach(), "x": x.grad}
    return found | {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


def maps(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    x, dy = (torch.randn(*shape, dtype=torch.float64, generator=source) for _ in range(2))
    return x, dy


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", GATES)
def test_equals_the_plain_form(name, layout):
    module = made(name).double()
    x, dy = (LAYOUTS[layout](t) for t in maps(3, 16, 5, 7))
    ours = run(module, x, dy)
    with plain():
        definition = run(module, x, dy)
    assert ours.keys() == definition.keys()
    for key in ours:
        assert torch.allclose(ours[key], definition[key], rtol=1e-11, atol=1e-12), key


@pytest.mark.parametrize("name", GATES)
def test_gradients_against_finite_differences(name):
    module = made(name, 16).double().eval()
    x = maps(2, 16, 3, 4)[0].requires_grad_()
    assert torch.autograd.gradcheck(module, (x,))


@pytest.mark.parametrize("shape", [(4, 16, 8, 8), (2, 48, 5, 7), (3, 17, 1, 1), (1, 64, 9, 2)])
@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_as_close_to_the_truth_as_the_plain_form(name, shape, native, monkeypatch):
    if native and compile.library() is None:
        pytest.skip("no C compiler here: passes.c is not tested")
    if not native:
        monkeypatch.setattr(passes, "available", lambda: False)
    module = made(name, shape[1])
    if shape[2] == 1:
        module.eval()
    x, dy = (t.bfloat16().contiguous(memory_format=torch.channels_last) for t in maps(*shape))
    with plain():
        truth = run(copy.deepcopy(module).double(), x.double(), dy.double())
    with torch.autocast("cpu", torch.bfloat16):
        ours = run(module, x, dy)
        with plain():
            definition = run(module, x, dy)
    assert ours["y"].dtype == torch.bfloat16
    assert ours["y"].is_contiguous(memory_format=torch.channels_last)
    for key, value in truth.items():
        scale = float(value.abs().max())
        wrong, allowed = (float((found[key].double() - value).abs().max()) for found in (ours, definition))
        assert wrong <= 2 * allowed + 0.01 * scale, key


@pytest.mark.parametrize("name", ["se", "cbam", "coordinate"])
def test_a_compiler_gets_the_plain_form_and_the_same(name, monkeypatch):
    """It fuses that better than it calls our passes, of which it sees none but the convolution of a few planes."""
    module = made(name)
    x, dy = (t.bfloat16().contiguous(memory_format=torch.channels_last) for t in maps(2, 16, 8, 8))

    def gradients(f) -> list[Tensor]:
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = f(given)
        return [y.detach(), *torch.autograd.grad(y, [given, *module.parameters()], dy)]

    module.eval()
    eager = gradients(module)
    monkeypatch.setattr("attnlab.attention.gate.enter", None)
    monkeypatch.setattr("attnlab.attention.coordinate.enter", None)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    for ours, theirs in zip(eager, gradients(compiled), strict=True):
        assert torch.allclose(ours, theirs, rtol=0.02, atol=0.02)
    torch._dynamo.reset()


def test_shared_maxima_are_shared_alike():
    """Few distinct values, many ties: positions give the first its gradient, channels share it."""
    x, dy = maps(4, 16, 6, 6)
    x = (2 * x).round() / 2
    for name in ("cbam attention.order=channel", "cbam attention.order=spatial", "se attention.squeeze=max"):
        module = made(name)
        with plain():
            truth = run(copy.deepcopy(module).double(), x, dy)
        low = [t.bfloat16().contiguous(memory_format=torch.channels_last) for t in (x, dy)]
        with torch.autocast("cpu", torch.bfloat16):
            found = run(module, *low)["x"].double()
        assert float((found - truth["x"]).abs().max()) < 0.06 * float(truth["x"].abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["se", "cbam", "eca"])
def test_an_empty_batch(name, dtype):
    module = made(name).eval().to(dtype)
    x = torch.zeros(0, 16, 4, 4, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = module(x)
    y.sum().backward()
    assert y.shape == x.shape
    assert x.grad is not None
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in module.parameters())


@pytest.mark.parametrize("name", ["se", "cbam"])
def test_twice_differentiable_only_in_the_plain_form(name):
    module, x = made(name).double(), maps(2, 16, 4, 4)[0].requires_grad_()

    def second() -> Tensor:
        (first,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    with pytest.raises(RuntimeError, match=r"differentiable once: .with attnlab\.attention\.gate\.plain"):
        second()
    with plain():
        assert second().abs().sum() > 0


def kept_maps(module: nn.Module, x: Tensor) -> tuple[set[int], int]:
    """(storages of the feature map's size, bytes of all the others) that backward keeps."""
    storages: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = module(x)
    del y
    size = x.untyped_storage().nbytes()
    big = {pointer for pointer, amount in storages.items() if amount >= size}
    return big, sum(amount for pointer, amount in storages.items() if pointer not in big)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["se", "ise", "eca", "ge_theta_minus", "se attention.squeeze=max", "coordinate"])
def test_a_channel_gate_keeps_its_input_alone(name, dtype):
    module = made(name, 64)
    x = torch.randn(8, 64, 16, 16, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        big, rest = kept_maps(module, x)
    assert big == {x.untyped_storage().data_ptr()}
    assert rest < x.untyped_storage().nbytes() / 3  # of 16 x 16 maps the coordinate gate's vectors are much


def test_cbam_keeps_the_input_of_each_of_its_two_gates():
    module = made("cbam", 64)
    x = torch.randn(8, 64, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
    big, rest = kept_maps(module, x)
    assert len(big) == 2
    assert x.untyped_storage().data_ptr() in big
    assert rest < x.untyped_storage().nbytes() / 4
    with plain():
        assert len(kept_maps(module, x)[0]) >= 2


def test_the_recorder_sees_the_masks():
    module, x = made("cbam"), maps(2, 16, 4, 4)[0].float()
    with record_masks(module) as ours:
        module(x)
    with plain(), record_masks(module) as definition:
        module(x)
    assert ours.keys() == definition.keys() == {"channel", "spatial"}
    assert all(torch.allclose(ours[key].m, definition[key].m, atol=1e-6) for key in ours)


def test_what_is_not_finite_stays_so():
    for value in (float("nan"), float("inf")):
        x = torch.randn(2, 16, 4, 4).bfloat16().contiguous(memory_format=torch.channels_last)
        x[0, 3, 1, 1] = value
        mean, most, _ = passes.mean_max_positions(x)
        peak, average = passes.pool_channels(x)
        for found in (mean[0, 3], most[0, 3], peak[0, 0, 1, 1], average[0, 0, 1, 1], passes.times(x, most)[0, 3, 1, 1]):
            assert not torch.isfinite(found).any()
        assert torch.isfinite(mean[1]).all()


def test_a_gate_that_scores_something_else_is_plain():
    gate = made("se")
    assert isinstance(gate, Gate)
    x, source = maps(2, 16, 4, 4)
    assert torch.allclose(gate.double()(x, source), x * gate.mask(gate.score(source)))


def test_pools_know_the_shape_of_their_mask():
    x = torch.zeros(2, 16, 3, 5)
    assert gates.Mean().shapes(x) == ((2, 16, 1, 1),)
    assert gates.MaxMeanOverChannels().shapes(x) == ((2, 1, 3, 5),)
    assert gates.MeanOverAxes().shapes(x) == ((2, 16, 3, 1), (2, 16, 1, 5))
