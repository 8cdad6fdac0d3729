"""BN with what follows it, in norms.c, equals its plain form; gates at a branch's end keep no map."""

import copy

import pytest
import torch
from torch import Tensor, nn

from attnlab.attention.gate import Gate, PooledScore, plain
from attnlab.machine.kernels import compile
from attnlab.machine.kernels.gates import Mean
from attnlab.machine.kernels.norms import norm_relu, normed
from tests.attention.branches import End, Plainly, bn, low, noted_calls, run
from tests.machine.test_fused import kept_maps, made

pytestmark = pytest.mark.skipif(compile.library() is None, reason="no C compiler here: norms.c is not tested")

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


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    return noted_calls(monkeypatch)


@pytest.fixture(autouse=True)
def autocast():
    with torch.autocast("cpu", torch.bfloat16):
        yield


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


@pytest.mark.parametrize("first", [100.0, 0.0])
def test_statistics_of_a_map_far_from_zero(first):
    """Variances are sums relative to the first image's mean: neither a mean of 100 sd drowns them, nor an odd pixel."""
    layer, x = nn.BatchNorm2d(16), low(8, 16, 32, 32) + 100
    x[0, :, 0, 0] = first
    x = x.contiguous(memory_format=torch.channels_last)
    normed(layer, x)
    exact = nn.BatchNorm2d(16).double()
    exact(x.double())
    assert torch.allclose(layer.running_var.double(), exact.running_var, rtol=1e-4)
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
