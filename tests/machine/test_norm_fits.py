"""Where norms.c does not go, PyTorch does: other norms, other maps, who watches or transforms a net."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from attnlab.attention.gate import plain
from attnlab.evaluation.mask_recorder import record_masks, replace_masks
from attnlab.machine.kernels import compile, passes
from attnlab.machine.kernels.norms import gated_norm, gated_norm_add_relu, in_turn, norm_relu, normed
from attnlab.models import resnet_cifar
from attnlab.models.slots import no_attention
from attnlab.models.timm_blocks import BasicBlock
from attnlab.models.vgg_ltpa import ConvUnit
from tests.attention.branches import End, Plainly, bn, low, noted_calls, run
from tests.machine.test_fused import made

pytestmark = pytest.mark.skipif(compile.library() is None, reason="no C compiler here: norms.c is not tested")


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    return noted_calls(monkeypatch)


@pytest.fixture(autouse=True)
def autocast():
    with torch.autocast("cpu", torch.bfloat16):
        yield


def unfit() -> dict[str, tuple[nn.Module, Tensor]]:
    hooked, silent, forgetful, evaluated, frozen = bn(16), bn(16), bn(16), bn(16).eval(), bn(16)
    behind, own = bn(16), bn(16)
    hooked.register_forward_hook(lambda *_: None)
    behind.register_full_backward_pre_hook(lambda *_: None)
    own.forward = lambda x: x  # type: ignore[method-assign]
    frozen.track_running_stats = False
    silent.momentum = None
    forgetful.running_mean = forgetful.running_var = None
    x = low(4, 16, 4, 4)
    return {
        "hooked": (hooked, x),
        "hooked behind": (behind, x),
        "a forward of its own": (own, x),
        "statistics not tracked": (frozen, x),
        "no bias": (nn.BatchNorm2d(16, bias=False), x),
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


def test_what_pytorch_refuses_is_refused():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_relu(bn(32), low(1, 32, 1, 1))
    with pytest.raises(ValueError, match="expected 4D input"):
        norm_relu(bn(16), low(2, 16, 4, 4)[0])
    with pytest.raises(RuntimeError, match="should contain 64 elements"):
        norm_relu(bn(16), low(4, 64, 8, 8))
    with pytest.raises(ValueError, match="no such part norm; allowed are gates, norms"), plain("norm"):
        pass


def test_vectors_of_another_layout():
    layer, x = bn(16), low(4, 16, 4, 4)
    given = {"weight": torch.arange(32.0)[::2], "bias": torch.zeros(1).expand(16)}
    ours = functional_call(Plainly(normed, 16), {f"norm.{name}": v for name, v in given.items()}, (x, x))
    theirs = F.batch_norm(x, None, None, given["weight"], given["bias"], training=True, eps=layer.eps)
    assert torch.allclose(ours.float(), theirs.float())


def test_kept_tensors_that_come_back_in_another_layout():
    module, x = End(made("cbam attention.order=channel"), 16), low(4, 16, 6, 6)
    dy, shortcut = low(4, 16, 6, 6, seed=2), low(4, 16, 6, 6, seed=1)
    before = run(module, x, shortcut, dy)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t.contiguous()):
        after = run(module, x, shortcut, dy)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_transforms_and_tracers_see_plain_operations(calls):
    net = resnet_cifar.ResNet(8).train()
    x = low(2, 3, 8, 8).float().contiguous(memory_format=torch.channels_last)
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    buffers = {name: b.clone() for name, b in net.named_buffers()}

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return functional_call(net, (parameters, buffers), (x,))["stage3"].float().square().sum()

    assert all(torch.isfinite(g).all() for g in torch.func.grad(loss)(parameters, buffers).values())
    assert torch.fx.symbolic_trace(net).code
    torch.jit.trace(net, x, check_trace=False, strict=False)
    assert not calls
    net(x)
    assert calls


def test_who_watches_all_modules_sees_the_norms(calls):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        norm_relu(bn(16), low(4, 16, 4, 4))
    finally:
        handle.remove()
    assert seen == [nn.BatchNorm2d]
    assert not calls


def test_a_module_that_stands_twice_runs_twice():
    gate, x = made("se"), low(4, 16, 4, 4)
    with plain():
        twice = nn.Sequential(gate, gate)(bn(16)(x))
    assert torch.allclose(gated_norm(nn.Sequential(gate, gate), bn(16), x, x).float(), twice.float(), atol=0.05)
    relu = nn.ReLU()
    assert in_turn(nn.Sequential(relu, nn.BatchNorm2d(16), relu), x).min() == 0
    assert torch.equal(gated_norm(nn.Sequential(), bn(16), x, x), normed(bn(16), x))


def test_an_activation_that_is_watched_or_another_is_called():
    unit = ConvUnit(3, 16, 0.0, slot=no_attention, init="he", norm_init="ones", norm_eps=1e-3)
    block = BasicBlock(timm.create_model("resnet18").layer1[0], downsampling=4, slot=no_attention)
    seen: list[str] = []
    for name, module in (("relu", unit.relu), ("act1", block.act1), ("drop", block.drop_block), ("act2", block.act2)):
        module.register_forward_hook(lambda *_, name=name: seen.append(name))
    unit(low(2, 3, 8, 8))
    block(low(2, 64, 8, 8))
    assert seen == ["relu", "drop", "act1", "act2"]
    unit.relu = nn.ELU()
    assert unit(low(2, 3, 8, 8)).min() < 0


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
    with record_masks(module) as ours:
        module(x, x)
    with plain(), record_masks(module) as definition:
        module(x, x)
    assert ours.keys() == definition.keys() == {"attention.channel", "attention.spatial"}
    assert all(torch.allclose(ours[key].m, definition[key].m, atol=0.02) for key in ours)
    se = End(made("se"), 16)
    with replace_masks(se, {"attention": torch.zeros(1, 16, 1, 1)}):
        assert torch.equal(se(x, x), F.relu(x))


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
