"""Fused gates equal their plain form, keep no second feature map, and run only where the C kernels apply."""

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from attnlab import layers
from attnlab.attention.gate import Gate
from attnlab.attention.placement import make_attention
from attnlab.attention.se import SE
from attnlab.configuration.compose import compose_file
from attnlab.configuration.compose import plain as values
from attnlab.evaluation.mask_recorder import record_masks
from attnlab.machine.kernels import compile, gates, passes
from tests.machine.branches import accelerated

pytestmark = pytest.mark.skipif(compile.library() is None, reason="no C compiler here: passes.c is not tested")

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


@pytest.fixture
def entered(monkeypatch) -> list[object]:
    """One entry for each fused gate that ran."""
    found: list[object] = []
    enter = gates.enter
    monkeypatch.setattr(gates, "enter", lambda x, squeeze: (found.append(squeeze), enter(x, squeeze))[1])
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", GATES)
def test_other_dtypes_and_layouts_run_plain(name, layout, entered):
    module = made(name)
    fast = accelerated(module)
    x, dy = (LAYOUTS[layout](t) for t in maps(3, 16, 5, 7))
    low = [] if layout == "channels_last" else [torch.bfloat16]
    for dtype in (torch.float64, torch.float32, *low):
        ours, definition = (run(m.to(dtype), x.to(dtype), dy.to(dtype)) for m in (fast, module))
        assert ours.keys() == definition.keys()
        # bfloat16 planes have a convolution of their own in any layout
        tolerance = 0.05 * (dtype == torch.bfloat16 and "cbam" in name)
        assert all(torch.allclose(ours[key], definition[key], rtol=tolerance, atol=tolerance) for key in ours)
    assert not entered


@pytest.mark.parametrize("name", GATES)
def test_eval_runs_plain(name, entered):
    module = made(name).eval()
    fast = accelerated(module)
    x, dy = (t.bfloat16().contiguous(memory_format=torch.channels_last) for t in maps(2, 16, 6, 6))
    with torch.autocast("cpu", torch.bfloat16):
        ours, definition = run(fast, x, dy), run(module, x, dy)
        assert all(torch.equal(ours[key], definition[key]) for key in definition)
        assert not entered
        run(fast.train(), x, dy)
    assert entered


@pytest.mark.parametrize("shape", [(4, 16, 8, 8), (2, 48, 5, 7), (3, 17, 1, 1), (1, 64, 9, 2)])
@pytest.mark.parametrize("name", GATES)
def test_bfloat16_is_as_close_to_the_truth_as_the_plain_form(name, shape, entered):
    module = made(name, shape[1])
    if shape[2] == 1:  # a BN over one value per channel has no variance
        for part in module.modules():
            part.train(not isinstance(part, nn.BatchNorm2d))
    x, dy = (t.bfloat16().contiguous(memory_format=torch.channels_last) for t in maps(*shape))
    truth = run(copy.deepcopy(module).double(), x.double(), dy.double())
    with torch.autocast("cpu", torch.bfloat16):
        ours, definition = run(accelerated(module), x, dy), run(module, x, dy)
    assert entered
    assert ours["y"].dtype == torch.bfloat16
    assert ours["y"].is_contiguous(memory_format=torch.channels_last)
    for key, value in truth.items():
        scale = float(value.abs().max())
        wrong, allowed = (float((found[key].double() - value).abs().max()) for found in (ours, definition))
        assert wrong <= 2 * allowed + 0.01 * scale, key


@pytest.mark.parametrize("name", ["se", "cbam", "coordinate"])
def test_a_compiler_gets_the_plain_form(name, entered):
    module = made(name)
    x, dy = (t.bfloat16().contiguous(memory_format=torch.channels_last) for t in maps(2, 16, 8, 8))

    def gradients(net, f) -> list[Tensor]:
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = f(given)
        return [y.detach(), *torch.autograd.grad(y, [given, *net.parameters()], dy)]

    eager, fast = gradients(module, module), accelerated(module)
    compiled = torch.compile(fast, backend="aot_eager", fullgraph=True)
    for ours, theirs in zip(eager, gradients(fast, compiled), strict=True):
        assert torch.allclose(ours, theirs, rtol=0.02, atol=0.02)
    assert not entered
    torch._dynamo.reset()


def test_shared_maxima_are_shared_alike():
    """Few distinct values, many ties: positions give the first its gradient, channels share it."""
    x, dy = maps(4, 16, 6, 6)
    x = (2 * x).round() / 2
    for name in ("cbam attention.order=channel", "cbam attention.order=spatial", "se attention.squeeze=max"):
        module = made(name)
        truth = run(copy.deepcopy(module).double(), x, dy)
        low = [t.bfloat16().contiguous(memory_format=torch.channels_last) for t in (x, dy)]
        with torch.autocast("cpu", torch.bfloat16):
            found = run(accelerated(module), *low)["x"].double()
        assert float((found - truth["x"]).abs().max()) < 0.06 * float(truth["x"].abs().max())


@pytest.mark.parametrize("name", ["se", "cbam", "eca"])
def test_an_empty_batch(name):
    module = accelerated(made(name))
    for part in module.modules():
        part.train(not isinstance(part, nn.BatchNorm2d))
    x = torch.zeros(0, 16, 4, 4).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    y.sum().backward()
    assert y.shape == x.shape
    assert x.grad is not None
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in module.parameters())


@pytest.mark.parametrize("name", ["se", "cbam"])
def test_twice_differentiable_only_in_the_plain_form(name):
    module, x = made(name), maps(2, 16, 4, 4)[0].bfloat16().contiguous(memory_format=torch.channels_last)
    x.requires_grad_()

    def second(module: nn.Module) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            y = module(x)
        (first,) = torch.autograd.grad(y.float().square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.float().square().sum(), x)[0]

    fast = accelerated(module)
    with pytest.raises(RuntimeError, match="no second derivative: use the net in eval mode or not accelerated"):
        second(fast)
    assert second(fast.eval()).abs().sum() > 0
    assert second(module).abs().sum() > 0


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


@pytest.mark.parametrize("name", ["se", "ise", "eca", "ge_theta_minus", "se attention.squeeze=max", "coordinate"])
def test_a_channel_gate_keeps_no_map_but_its_input(name):
    module = accelerated(made(name, 64))
    x = torch.randn(8, 64, 16, 16).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        big, rest = kept_maps(module, x)
    assert big == {x.untyped_storage().data_ptr()}
    assert rest < x.untyped_storage().nbytes() / 3  # of 16 x 16 maps the coordinate gate's vectors are much


def test_cbam_keeps_the_input_of_each_of_its_two_gates():
    module = made("cbam", 64)
    x = torch.randn(8, 64, 16, 16).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        big, rest = kept_maps(accelerated(module), x)
        assert len(big) == 2
        assert x.untyped_storage().data_ptr() in big
        assert rest < x.untyped_storage().nbytes() / 4
        assert len(kept_maps(module, x)[0]) >= 2


def test_the_recorder_sees_the_masks():
    module, x = made("cbam"), maps(2, 16, 4, 4)[0].bfloat16().contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        fast = accelerated(module)
        with record_masks(fast) as ours:
            fast(x)
        with record_masks(module) as definition:
            module(x)
    assert ours.keys() == definition.keys() == {"channel", "spatial"}
    assert all(torch.allclose(ours[key].m, definition[key].m, atol=0.02) for key in ours)


@pytest.mark.parametrize("part", ["score", "score.squeeze"])
def test_a_hook_on_the_score_or_its_squeeze_is_called(part, entered):
    module, seen = accelerated(made("se")), []
    module.get_submodule(part).register_forward_hook(lambda *_: seen.append(part))
    with torch.autocast("cpu", torch.bfloat16):
        module(maps(2, 16, 4, 4)[0].bfloat16().contiguous(memory_format=torch.channels_last))
    assert seen == [part]
    assert not entered


def test_a_score_with_another_forward_is_another_formula():
    class Doubled(SE):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    for score, fused in ((SE(16), True), (Doubled(16), False), (SE(16, squeeze="none"), False)):
        gate = Gate(score, nn.Sigmoid())
        assert (type(accelerated(gate)) is not Gate) is fused


def test_what_is_not_finite_stays_so():
    for value in (float("nan"), float("inf")):
        x = torch.randn(2, 16, 4, 4).bfloat16().contiguous(memory_format=torch.channels_last)
        x[0, 3, 1, 1] = value
        mean, most, _ = passes.mean_max_positions(x)
        peak, average = passes.max_mean_channels(x)
        for found in (mean[0, 3], most[0, 3], peak[0, 0, 1, 1], average[0, 0, 1, 1], passes.times(x, most)[0, 3, 1, 1]):
            assert not torch.isfinite(found).any()
        assert torch.isfinite(mean[1]).all()


def test_a_gate_that_scores_something_else_is_plain():
    gate = made("se")
    assert isinstance(gate, Gate)
    x, source = maps(2, 16, 4, 4)
    gate = gate.double()
    assert torch.allclose(accelerated(gate)(x, source), x * gate.mask(gate.score(source)))


def test_squeezes_know_the_shape_of_their_mask():
    x = torch.zeros(2, 16, 3, 5)
    assert gates.SQUEEZES[layers.Mean].shapes(x) == ((2, 16, 1, 1),)
    assert gates.SQUEEZES[layers.MaxMeanOverChannels].shapes(x) == ((2, 1, 3, 5),)
    assert gates._MeanOverAxes().shapes(x) == ((2, 16, 3, 1), (2, 16, 1, 5))
