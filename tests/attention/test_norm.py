"""BN with what follows it, in norms.c, equals its plain form; gates at a branch's end keep no map; what fits not."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab import norms
from attnlab.attention import kernels, passes
from attnlab.attention.fused import Mean
from attnlab.attention.gate import Gate, PooledScore, plain
from attnlab.norms import gated_norm, gated_norm_add_relu, in_turn, norm_relu, normed
from attnlab.recorder import record, replaced
from tests.attention.test_fused import kept_maps, made

pytestmark = pytest.mark.skipif(kernels.library() is None, reason="no C compiler here: norms.c is not tested")

SHAPES = ((4, 16, 8, 8), (3, 64, 5, 7), (2, 96, 1, 3), (5, 8, 4, 6), (1, 32, 9, 2), (6, 1, 8, 4))
SEEDS = 6
EACH = ["norm_pool", "norm_times", "norm_times_backward", "norm_pool_backward"]
ATTENTIONS = (
    "se",
    "ise",
    "eca",
    "ge_theta_minus",
    "se attention.squeeze=max",
    "se attention.apply=residual",
    "cbam",
    "icbam",
    "cbam attention.order=channel",
    "cbam attention.order=spatial",
    "cbam attention.order=spatial-channel",
    "cbam attention.order=parallel",
    "coordinate",
)


def low(*shape: int, seed: int = 0) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x.bfloat16().contiguous(memory_format=torch.channels_last)


def bn(channels: int) -> nn.BatchNorm2d:
    """With weights of both signs, and one of 0."""
    layer = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for vector in (layer.weight, layer.bias, layer.running_mean):
            vector.copy_(torch.randn(channels, generator=draw))
        layer.weight[channels // 2] = 0.0
    return layer


class End(nn.Module):
    """A branch's end as one module: what gradients are asked of."""

    def __init__(self, attention: nn.Module, channels: int, shortcut: bool = True) -> None:
        super().__init__()
        self.attention, self.norm, self.adds = attention, bn(channels), shortcut

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        if self.adds:
            return gated_norm_add_relu(self.attention, self.norm, x, x, shortcut)
        return gated_norm(self.attention, self.norm, x, x)

    def before_relu(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return gated_norm(self.attention, self.norm, x, x) + shortcut


class Plainly(nn.Module):
    """norm_relu and normed as modules."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor], channels: int) -> None:
        super().__init__()
        self.function, self.norm = function, bn(channels)

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return self.function(self.norm, x) + 0 * shortcut

    def before_relu(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return self.norm(x)


def run(module: nn.Module, x: Tensor, shortcut: Tensor, dy: Tensor) -> dict[str, Tensor]:
    """Output, every gradient, and BN's buffers."""
    module = copy.deepcopy(module)
    x, shortcut = x.detach().requires_grad_(), shortcut.detach().requires_grad_()
    y = module(x, shortcut)
    y.backward(dy)
    assert x.grad is not None
    found = {"y": y.detach(), "x": x.grad}
    if shortcut.grad is not None:
        found["shortcut"] = shortcut.grad
    found |= {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return found | {name: value.clone() for name, value in module.named_buffers()}


def compare(module: End | Plainly, shape: tuple[int, ...]) -> None:
    """The fused form is as close to float64 as the plain form in bfloat16 is: |error| / |value|, mean over seeds.

    No gradient comes from where a ReLU's argument is near 0: there one side lets it through and the other does not.
    """
    errors: dict[str, list[Tensor]] = {}
    for seed in range(SEEDS):
        x, shortcut, dy = (low(*shape, seed=3 * seed + i) for i in range(3))
        with plain(), torch.autocast("cpu", enabled=False):
            exact = copy.deepcopy(module).double()
            sure = copy.deepcopy(exact).before_relu(x.double(), shortcut.double()).abs() > 0.05
            dy = (dy * sure).to(dy.dtype).contiguous(memory_format=torch.channels_last)
            truth = run(exact, x.double(), shortcut.double(), dy.double())
        ours = run(module, x, shortcut, dy)
        with plain():
            definition = run(module, x, shortcut, dy)
        assert ours.keys() == definition.keys() == truth.keys()
        for key, value in truth.items():
            assert (ours[key].dtype, ours[key].shape) == (definition[key].dtype, definition[key].shape), key
            wrong = [(found[key].double() - value).norm() for found in (ours, definition)]
            errors.setdefault(key, []).append(torch.stack(wrong) / value.double().norm().clamp(min=1))
    for key, each in errors.items():
        wrong, allowed = torch.stack(each).mean(dim=0).tolist()
        # an attention's few hidden units have ReLUs of their own
        bound = 2 * allowed + 0.01 if key.startswith("attention") else 1.3 * allowed + 0.003
        assert wrong <= bound, (key, wrong, allowed)


@pytest.fixture(autouse=True)
def autocast():
    with torch.autocast("cpu", torch.bfloat16):
        yield


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Names of the C functions that norms.py calls."""
    found: list[str] = []

    def call(name: str, *arguments: object) -> None:
        found.append(name)
        kernels.call(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(norms, "call", call)
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("function", [norm_relu, normed])
def test_bn_and_relu_equal_the_plain_form(function, shape, calls):
    compare(Plainly(function, shape[1]), shape)
    assert calls == EACH * SEEDS


@pytest.mark.parametrize("shape", SHAPES)
def test_the_end_of_a_branch_without_attention(shape, calls):
    compare(End(nn.Identity(), shape[1]), shape)
    assert calls == EACH * SEEDS


@pytest.mark.parametrize("shape", [(4, 16, 8, 8), (3, 64, 5, 7), (1, 32, 9, 2)])
@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize("name", ATTENTIONS)
def test_the_end_of_a_branch_with_an_attention(name, adds, shape, calls):
    compare(End(made(name, shape[1]), shape[1], adds), shape)
    assert calls == EACH * SEEDS


@pytest.mark.parametrize("channels", [8, 16, 64])
def test_the_first_of_several_maxima_has_the_gradient(channels):
    """Few distinct values: most channels have their maximum (minimum, where the weight is negative) at many places."""
    x = low(4, channels, 6, 8).round().contiguous(memory_format=torch.channels_last)
    dy = low(4, channels, 6, 8, seed=2)
    module = End(
        made("cbam attention.order=channel attention.squeeze=max attention.reduction=4", channels), channels, False
    )
    with plain(), torch.autocast("cpu", enabled=False):
        truth = run(copy.deepcopy(module).double(), x.double(), x.double(), dy.double())["x"]
    found = run(module, x, x, dy)["x"].double()
    assert float((found - truth).abs().max()) < 0.03 * float(truth.abs().max())


def test_statistics_of_a_map_far_from_zero():
    """Variances are sums relative to the map's first pixel: its mean of 100 sd does not drown them."""
    layer, x = nn.BatchNorm2d(16), (low(8, 16, 8, 8) + 100).contiguous(memory_format=torch.channels_last)
    x = (x.float() + 0.0).bfloat16()
    normed(layer, x)
    exact = nn.BatchNorm2d(16).double()
    exact(x.double())
    assert torch.allclose(layer.running_var.double(), exact.running_var, rtol=1e-5)
    assert torch.allclose(layer.running_mean.double(), exact.running_mean, rtol=1e-6)
    assert layer.num_batches_tracked == exact.num_batches_tracked == 1


def test_the_same_for_any_number_of_threads():
    x, dy = low(7, 64, 6, 6), low(7, 64, 6, 6, seed=2)
    module, before = End(made("cbam", 64), 64), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(run(module, x, x, dy)["x"])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_what_is_not_finite_stays_so():
    for value in (float("nan"), float("inf")):
        x = low(2, 16, 4, 4)
        x[0, 3, 1, 1] = value
        for module in (Plainly(norm_relu, 16), End(made("se"), 16), End(made("cbam"), 16)):
            y = module(x, low(2, 16, 4, 4))
            assert not torch.isfinite(y[0, 3, 1, 1])
    layer = bn(16)
    assert torch.isfinite(norm_relu(layer, x)[:, :3]).all()


def test_gradients_of_another_layout():
    layer, x = bn(32), low(2, 32, 4, 4).requires_grad_()
    y = norm_relu(layer, x)
    dy = low(2, 32, 4, 4, seed=3)
    (ours,) = torch.autograd.grad(y, x, dy, retain_graph=True)
    (theirs,) = torch.autograd.grad(y, x, dy.contiguous())
    assert torch.equal(ours, theirs)
    (wide,) = torch.autograd.grad(norm_relu(layer, x).float().mean(), x)
    assert wide.shape == x.shape


@pytest.mark.parametrize("name", ["none", "se", "ise", "eca", "ge_theta_minus"])
def test_a_channel_gate_at_the_end_of_a_branch_keeps_no_map(name):
    """Beside BN's input and the block's output, which backward needs without it too."""
    attention = nn.Identity() if name == "none" else made(name, 64)
    module, x = End(attention, 64), low(8, 64, 16, 16).requires_grad_()
    shortcut = low(8, 64, 16, 16, seed=1)
    big, rest = kept_maps(lambda t: module(t, shortcut), x)  # type: ignore[arg-type]
    assert len(big) == 2
    assert x.untyped_storage().data_ptr() in big
    assert rest < x.untyped_storage().nbytes() / 10


def unfit() -> dict[str, tuple[nn.Module, Tensor]]:
    hooked, silent, forgetful, evaluated = bn(16), bn(16), bn(16), bn(16).eval()
    hooked.register_forward_hook(lambda *_: None)
    silent.momentum = None
    forgetful.running_mean = forgetful.running_var = None
    x = low(4, 16, 4, 4)
    return {
        "hooked": (hooked, x),
        "momentum": (silent, x),
        "no running statistics": (forgetful, x),
        "eval": (evaluated, x),
        "float32": (bn(16), x.float()),
        "NCHW": (bn(16), x.contiguous()),
        "without weights": (nn.BatchNorm2d(16, affine=False), x),
        "float64 weights": (bn(16).bfloat16(), x),
        "another class": (nn.SyncBatchNorm(16).eval(), x),
        "48 channels": (bn(48), low(4, 48, 4, 4)),
        "half a row": (bn(16), low(3, 16, 1, 1)),
        "no norm": (nn.Identity(), x),
        "no images": (bn(16).eval(), low(0, 16, 4, 4)),
    }


@pytest.mark.parametrize("case", unfit())
def test_what_does_not_fit_is_plain(case, calls):
    layer, x = unfit()[case]
    same = copy.deepcopy(layer)
    with plain():
        truth = F.relu(same(x))
    assert torch.equal(norm_relu(layer, x), truth)
    assert torch.equal(gated_norm_add_relu(nn.Identity(), copy.deepcopy(layer), x, x, torch.zeros_like(x)), truth)
    assert not calls


def test_without_a_compiler_it_is_plain(monkeypatch, calls):
    monkeypatch.setattr(passes, "available", lambda: False)
    layer, x = bn(16), low(4, 16, 4, 4)
    assert torch.equal(norm_relu(layer, x), F.relu(bn(16)(x)))
    assert not calls


def test_one_value_a_channel_is_refused_as_pytorch_does():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_relu(bn(32), low(1, 32, 1, 1))


def test_parts_can_be_plain_one_by_one(calls):
    module, x = End(made("se"), 16), low(4, 16, 4, 4)
    with plain("gates"):
        module(x, x)
    assert calls == ["norm_pool", "norm_times"]
    calls.clear()
    with plain("norms"):
        module(x, x)
    assert not calls
    with plain("gates"):
        with plain("norms"):
            pass
        module(x, x)
    assert len(calls) == 2


def test_a_shortcut_of_another_shape_or_dtype_is_added_as_pytorch_does(calls):
    layer, x = bn(16), low(4, 16, 4, 4)
    assert gated_norm_add_relu(nn.Identity(), layer, x, x, torch.ones(1, 16, 1, 1)).dtype == torch.float32
    assert calls == ["norm_pool", "norm_times"]
    y = gated_norm_add_relu(nn.Identity(), bn(16), x, x, low(4, 16, 4, 4, seed=1).contiguous())  # NCHW
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_the_recorder_sees_masks_and_replaces_them():
    module, x = End(made("cbam"), 16), low(2, 16, 4, 4)
    with record(module) as ours:
        module(x, x)
    with plain(), record(module) as definition:
        module(x, x)
    assert ours.keys() == definition.keys() == {"attention.channel", "attention.spatial"}
    assert all(torch.allclose(ours[key].m, definition[key].m, atol=0.02) for key in ours)
    se = End(made("se"), 16)
    with replaced(se, {"attention": torch.zeros(1, 16, 1, 1)}):
        assert torch.equal(se(x, x), F.relu(x))


class OneForAll(PooledScore):
    """A score that is the same for all channels."""

    pooling = Mean()

    def of(self, *pooled: Tensor) -> Tensor:
        return pooled[0].mean(dim=1)[:, None, None, None]


def test_a_mask_that_broadcasts_is_spread_over_the_channels():
    gate = Gate(OneForAll(), nn.Sigmoid())
    compare(End(gate, 16), (4, 16, 4, 4))
    x = low(4, 16, 4, 4)
    with plain():
        definition = gate(x)
    assert torch.allclose(gate(x).float(), definition.float(), atol=0.02)


def test_an_identity_that_is_watched_is_called():
    module, x, seen = End(nn.Identity(), 16), low(2, 16, 4, 4), []
    module.attention.register_forward_hook(lambda *_: seen.append(1))
    module(x, x)
    assert seen == [1]


def test_a_hook_on_the_gate_sees_it():
    module, x, seen = End(made("se"), 16), low(2, 16, 4, 4), []
    module.attention.register_forward_hook(lambda _, given, y: seen.append((given[0], y)))
    module(x, x)
    assert [len(each) for each in seen] == [2]


@pytest.mark.parametrize("name", ["se", "cbam"])
def test_twice_differentiable_only_in_the_plain_form(name):
    module, x = End(made(name), 16), low(2, 16, 4, 4).requires_grad_()

    def second() -> Tensor:
        (first,) = torch.autograd.grad(module(x, x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.float().square().sum(), x)[0]

    with pytest.raises(RuntimeError, match=r"differentiable once: .with attnlab\.attention\.gate\.plain"):
        second()
    with plain():
        assert second().abs().sum() > 0


@pytest.mark.parametrize("name", ["se", "cbam"])
def test_a_compiler_gets_the_plain_form_and_the_same(name, calls):
    module, x = End(made(name), 16), low(4, 16, 8, 8)
    same = copy.deepcopy(module)
    with plain():
        eager = module(x, x)
    compiled = torch.compile(same, backend="aot_eager", fullgraph=True)(x, x)
    torch._dynamo.reset()
    assert not calls
    assert torch.allclose(eager, compiled, rtol=0.02, atol=0.02)
    assert torch.equal(module.norm.running_mean, same.norm.running_mean)


def test_layers_in_turn():
    layers = nn.Sequential(nn.Conv2d(16, 32, 1), nn.BatchNorm2d(32))
    x = low(4, 16, 4, 4)
    ours, theirs = in_turn(copy.deepcopy(layers), x), layers(x)
    assert ours.dtype == torch.bfloat16
    assert torch.allclose(ours.float(), theirs.float(), atol=0.03)
    assert in_turn(nn.Identity(), x) is x
