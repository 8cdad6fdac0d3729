"""Every yaml of conf/model, accelerated, trains as its plain form does in bf16 and channels_last on a CPU.

With few blocks per stage, since all blocks of a stage are alike. Attentions: tests/machine/test_accelerate.py.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import attnlab
from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.groups import choices
from attnlab.configuration.names import read_choice
from attnlab.machine.kernels import compile, norms
from attnlab.models.vgg_pan import PositionGate
from tests.machine.branches import accelerated, noted_calls

pytestmark = pytest.mark.skipif(compile.library() is None, reason="no C compiler here: norms.c is not tested")

# Not the authors' start of these VGGs: their peaked softmax turns any rounding into another gradient.
CALM = "model.init=he model.norm_init=ones"
SMALL = {
    "densenet40": "model.depth=13",
    "wrn": "model.depth=10 model.width=2",
    "resnet50_cifar": "model.depth=8",
    "mobilenet": "model.width=0.5",
    "vgg16_bn": "model.blocks=[1,1,1,1,1]",
    "vgg_ltpa": "head=ltpa",
    "vgg_pan": f"{CALM} head=ltpa_pan head.init=null",
    "vgg_": CALM,
}


def small(name: str) -> str:
    """Overrides that make the net of a yaml small."""
    node = read_choice("model", name)
    known = next((text for start, text in SMALL.items() if name.startswith(start) and name != "mobilenet_v2"), None)
    if known:
        return known
    if "blocks" in node:
        return f"model.blocks={[1] * len(node['blocks'])}".replace(" ", "")
    return "model.depth=8" if "depth" in node else ""


NETS = [f"model={name} {small(name)}".strip() for name in choices("model") if name not in ("timm", "own")] + [
    "model=resnet8 model.shortcut=B",
    "model=resnet8 model.shortcut=A",
    *(f"model=timm model.name={name} dataset=imagenet dataset.image_size=64" for name in ("resnet18", "resnet26d")),
]
CASES = [(name, "se") for name in NETS] + [
    (name, "none") for name in NETS if name.startswith(("model=resnet8 ", "model=resnet50_stem3", "model=timm"))
]


def config(name: str, attention: str) -> dict:
    extra = ["attention.reduction=4"] if attention == "se" else []
    return plain(compose_file("run", [*name.split(), f"attention={attention}", *extra]))


def calm(net: nn.Module) -> nn.Module:
    """Gates that start saturated, at a score of about 40, turn any rounding into another gradient: about 1 here."""
    for module in net.modules():
        if isinstance(module, PositionGate):
            module.score.weight.data.mul_(0.02)
    return net


def gradients(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """All gradients of a loss in one vector, and the buffers afterwards."""
    torch.manual_seed(0)  # dropout
    F.cross_entropy(net(images).float(), labels).backward()
    found = [p.grad.flatten().double() for p in net.parameters() if p.grad is not None]
    return torch.cat(found), dict(net.named_buffers())


@pytest.mark.parametrize(("name", "attention"), CASES)
def test_a_step_is_as_close_to_float32_as_the_plain_one(name, attention, monkeypatch):
    calls = noted_calls(monkeypatch)
    cfg = config(name, attention)
    net = calm(attnlab.build(cfg)).to(memory_format=torch.channels_last)
    others = accelerated(net), accelerated(net)
    size = cfg["dataset"]["image_size"]
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, size, size, generator=draw).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(8)
    truth, _ = gradients(others[0], images, labels)
    assert not calls  # float32 runs plain
    with torch.autocast("cpu", torch.bfloat16):
        ours, after = gradients(others[1], images, labels)
        pools = calls.count("norm_pool")
        definition, buffers = gradients(net, images, labels)
    assert calls.count("norm_pool") == pools
    layers = [module for module in net.modules() if type(module) is nn.BatchNorm2d]
    assert pools == sum(not (m.num_features % norms.LANES and norms.LANES % m.num_features) for m in layers) > 0
    wrong, allowed = (float((found - truth).norm() / truth.norm()) for found in (ours, definition))
    assert wrong <= 1.25 * allowed + 0.01
    assert after.keys() == buffers.keys()
    for key, buffer in buffers.items():
        assert torch.allclose(after[key].double(), buffer.double(), rtol=0.05, atol=0.05), key
