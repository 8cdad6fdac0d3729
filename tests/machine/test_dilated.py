"""Weight gradients in bfloat16 on this CPU, of all layers of all attentions, compared with float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import attnlab
from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.groups import choices
from attnlab.machine.cpu import matrix_units
from attnlab.machine.dilated import Float32Conv2d, correct_dilated
from tests.machine.branches import accelerated

BATCH, WIDTH = 4, 32  # wide maps: oneDNN's fault begins at about 30 pixels


def leave_values_in_free_memory() -> None:
    """A kernel that reads memory it has not written then reads sevens, not the zeros of a fresh page."""
    filled = [torch.full((4**power,), 7.0) for power in range(3, 10)]
    del filled


def relative_error(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).norm() / truth.norm().clamp(min=1e-12))


def exact_gradient(layer: nn.Module, calls: list[list[Tensor]]) -> Tensor:
    """The weight gradient of a layer in float64, summed over its calls: (input, gradient of the output)."""
    twin = copy.deepcopy(layer)
    twin.__class__ = nn.Conv2d if isinstance(layer, nn.Conv2d) else type(layer)
    twin = twin.double()
    twin.zero_grad()
    twin._forward_hooks.clear()
    for x, dy in calls:
        twin(x.double()).backward(dy.double())
    return twin.weight.grad


def wrong_layers(net: nn.Module) -> dict[str, float]:
    """name -> relative error, of the weight gradients that lie farther than 3 % from float64; bfloat16 gives 0.5 %."""
    calls: dict[str, list[list[Tensor]]] = {}

    def watch(name: str, layer: nn.Module) -> None:
        def seen(_module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            call = [given[0].detach().bfloat16()]
            calls.setdefault(name, []).append(call)
            out.register_hook(lambda dy: call.append(dy.detach().bfloat16()))

        layer.register_forward_hook(seen)

    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            watch(name, layer)
    images = torch.randn(BATCH, 3, WIDTH, WIDTH).contiguous(memory_format=torch.channels_last)
    leave_values_in_free_memory()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(net(images).float(), torch.arange(BATCH))
    leave_values_in_free_memory()
    loss.backward()
    layers = dict(net.named_modules())
    assert len(calls) >= 10  # the backbone's own
    errors = {
        name: relative_error(layers[name].weight.grad, exact_gradient(layers[name], seen))
        for name, seen in calls.items()
        if all(len(call) == 2 for call in seen)
    }
    return {name: error for name, error in errors.items() if not error < 0.03}


@pytest.mark.skipif(not matrix_units(), reason="no bfloat16 in this CPU: machine=auto trains in float32 on it")
@pytest.mark.parametrize("attention", choices("attention"))
def test_the_weight_gradients_of_every_layer_are_right_in_bf16(attention):
    torch.manual_seed(0)
    net = attnlab.build(plain(compose_file("run", ["model=resnet8", f"attention={attention}"])))
    net = net.to(memory_format=torch.channels_last).train()
    correct_dilated(net, device="cpu", precision="bf16-mixed")
    assert wrong_layers(accelerated(net)) == {}


@pytest.mark.parametrize("groups", [1, 4, 24])
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_dilated_convolutions_have_right_gradients_in_bf16(groups, precision):
    """24 channels: dense ones fail too where the CPU has AVX-512 without AMX."""
    torch.manual_seed(0)
    conv = nn.Conv2d(24, 24, 3, padding=2, dilation=2, groups=groups).to(memory_format=torch.channels_last)
    exact = copy.deepcopy(conv).double()
    correct_dilated(conv, device="cpu", precision=precision)
    x = torch.randn(8, 24, 40, 40).bfloat16().contiguous(memory_format=torch.channels_last)
    dy = torch.randn(8, 24, 40, 40).bfloat16()
    if precision == "bf16-true":
        conv = conv.bfloat16()
    leave_values_in_free_memory()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        y = conv(x)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    leave_values_in_free_memory()
    y.backward(dy)
    exact(x.double()).backward(dy.double())
    for ours, theirs in zip(conv.parameters(), exact.parameters(), strict=True):
        assert relative_error(ours.grad, theirs.grad) < 0.02


@pytest.mark.parametrize("attention", ["bam", "lsk", "lska"])
def test_the_exchanged_net_also_runs_in_float32(attention):
    """As where maps are drawn during training."""
    net = attnlab.build(plain(compose_file("run", ["model=resnet8", f"attention={attention}"]))).eval()
    images = torch.randn(2, 3, WIDTH, WIDTH)
    expected = net(images)
    correct_dilated(net, device="cpu", precision="bf16-mixed")
    assert torch.equal(net(images), expected)


def test_only_dilated_convolutions_of_a_bf16_cpu_run_are_exchanged():
    def net() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, dilation=2), nn.Conv2d(4, 4, 3, dilation=(1, 2)))

    def exchanged(device: str, precision: str) -> list[bool]:
        made = net()
        correct_dilated(made, device=device, precision=precision)
        assert list(made.state_dict()) == list(net().state_dict())
        return [type(layer) is Float32Conv2d for layer in made]

    assert exchanged("cpu", "bf16-mixed") == exchanged("cpu", "bf16-true") == [False, True, True]
    assert exchanged("cpu", "32-true") == exchanged("cuda", "bf16-mixed") == [False, False, False]
