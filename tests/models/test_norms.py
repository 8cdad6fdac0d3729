"""In bf16 and channels_last, as machine=auto trains on a CPU, every family of nets takes its norms from norms.c."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import attnlab
from attnlab.configuration.compose import compose_file
from attnlab.configuration.compose import plain as values
from attnlab.machine.kernels import compile, norms
from tests.machine.branches import accelerated, noted_calls

pytestmark = pytest.mark.skipif(compile.library() is None, reason="no C compiler here: norms.c is not tested")

#: net -> how many of its norms are left to PyTorch; None: those whose channels norms.c does not take
NETS: dict[str, int | None] = {
    "model=resnet8": 0,
    "model=resnet8 model.shortcut=B": 0,
    "model=resnet18_stem3 model.blocks=[1,1,1,1]": 0,
    "model=resnet50_stem3 model.blocks=[1,1,1,1]": 0,
    "model=preresnet20": 0,
    "model=preact_resnet50 model.blocks=[1,1,1,1]": 0,
    "model=wrn16_8": 0,
    "model=densenet40": None,
    "model=mobilenet": 0,
    "model=mobilenet_v2": None,
    "model=vgg16_bn": 0,
    "model=vgg_ltpa head=ltpa": 0,
    # not as its authors begin it: their peaked softmax turns any rounding into another gradient
    "model=vgg_pan model.init=he model.norm_init=ones head=ltpa_pan head.init=null": 0,
    "model=timm model.name=resnet18 dataset=imagenet dataset.image_size=64": 1,  # the stem is timm's
    "model=timm model.name=resnet26d dataset=imagenet dataset.image_size=64": 3,
}


def gradients(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """All gradients of a loss in one vector, and the buffers afterwards."""
    net = copy.deepcopy(net)
    torch.manual_seed(0)  # dropout
    F.cross_entropy(net(images).float(), labels).backward()
    found = [p.grad.flatten().double() for p in net.parameters() if p.grad is not None]
    return torch.cat(found), dict(net.named_buffers())


@pytest.mark.parametrize(("name", "attention"), [*((name, "se") for name in NETS), ("model=resnet8", "none")])
def test_a_step_is_as_close_to_float32_as_the_plain_one(name, attention, monkeypatch):
    calls = noted_calls(monkeypatch)
    extra = ["attention.reduction=4"] if attention == "se" else []
    cfg = values(compose_file("run", [*name.split(), f"attention={attention}", *extra]))
    net = attnlab.build(cfg).to(memory_format=torch.channels_last)
    size = cfg["dataset"]["image_size"]
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, size, size, generator=draw).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(8)
    truth, _ = gradients(net, images, labels)
    with torch.autocast("cpu", torch.bfloat16):
        ours, after = gradients(accelerated(net), images, labels)
        pools = calls.count("norm_pool")
        definition, buffers = gradients(net, images, labels)
    assert calls.count("norm_pool") == pools
    layers = [module for module in net.backbone.modules() if type(module) is nn.BatchNorm2d]
    left = NETS[name]
    if left is None:
        left = sum(bool(module.num_features % norms.LANES and norms.LANES % module.num_features) for module in layers)
    assert pools == len(layers) - left > 0
    wrong, allowed = (float((found - truth).norm() / truth.norm()) for found in (ours, definition))
    assert wrong <= 1.25 * allowed + 0.01
    assert after.keys() == buffers.keys()
    for key, buffer in buffers.items():
        assert torch.allclose(after[key].double(), buffer.double(), rtol=0.05, atol=0.05), key
