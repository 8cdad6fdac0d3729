"""Where each place of our own blocks is: their forwards written out by hand, with something standing at one place."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import attnlab
from attnlab.models.densenet import DenseNet, Layer, Transition
from attnlab.models.mobilenet import SeparableBlock
from attnlab.models.mobilenet_v2 import InvertedResidual
from attnlab.models.preact_resnet import Basic, Bottleneck, Unit
from attnlab.models.resnet import BottleneckBlock
from attnlab.models.resnet_cifar import BasicBlock
from attnlab.models.vgg import VGG, ConvBlock
from attnlab.models.vgg_ltpa import ConvUnit


def fill(x, seen=None):
    """Commutes with no BN, ReLU, sum or pooling; `seen`: what attention on a branch may look at besides."""
    y = x.square() + 1
    return y if seen is None else y + seen.mean()


class Filled(nn.Module):
    takes_input = False

    def forward(self, x, seen=None):
        return fill(x, seen)


class Kernel(nn.Module):
    """Takes the place of a convolution."""

    def __init__(self, in_channels, channels, stride):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, stride, padding=1)

    def forward(self, x):
        return fill(self.conv(x))


def one_place(place, channels, *, only, in_channels=None, stride=None, also=(), **_):
    if only not in (place, *also):
        return nn.Identity()
    if place == "kernel":
        return Kernel(in_channels, channels, stride)
    module = Filled()
    module.takes_input = place == "branch"  # as PSE does
    return module


def unsettle(net):
    """Random BNs and biases, so that a place before one is another than the place after it; float64, eval mode."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean)
        if getattr(module, "bias", None) is not None:
            nn.init.normal_(module.bias)
    return net.double().eval()


def images(channels, size=8):
    return torch.randn(2, channels, size, size, dtype=torch.float64)


# The forwards. `at(name, y)` is fill(y) where `name` is the place in question, else y; `at.place` is that place.


class At:
    def __init__(self, place):
        self.place = place

    def __call__(self, name, y, *seen):
        return fill(y, *seen) if name == self.place else y


def basic_block(block, x, at):
    y = at("pre", x)
    y = block.at_kernel(y) if at.place == "kernel" else F.relu(block.norm1(block.conv1(y)))
    y = at("conv", block.conv2(at("inner", y)))
    y = at("branch", block.norm2(y), x)
    return at("post", F.relu(y + at("shortcut", block.shortcut(x))))


def three_by_three(block, y, at):
    """The middle of a bottleneck."""
    if at.place == "kernel":
        return block.at_kernel(y)
    return at("inner", F.relu(block.norm2(at("conv", block.conv2(y)))))


def bottleneck_block(block, x, at):
    y = F.relu(block.norm1(block.conv1(at("pre", x))))
    y = block.norm3(block.conv3(three_by_three(block, y, at)))
    return at("post", F.relu(at("branch", y, x) + at("shortcut", block.shortcut(x))))


def inverted_residual(block, x, at):
    y = F.relu(block.norm1(block.conv1(at("pre", x))))
    y = at("branch", block.norm3(block.conv3(three_by_three(block, y, at))), x)
    if y.shape[2] < x.shape[2]:
        return at("post", y)
    return at("post", y + at("shortcut", block.shortcut(x)))


def basic_branch(branch, a, at):
    y = branch.at_kernel(a) if at.place == "kernel" else F.relu(branch.norm(branch.conv1(a)))
    return at("conv", branch.conv2(at("inner", y)))


def bottleneck_branch(branch, a, at):
    return branch.conv3(three_by_three(branch, F.relu(branch.norm1(branch.conv1(a))), at))


def unit(block, x, at, *, branch, of):
    """of: what the 1x1 conv on the shortcut takes."""
    a = F.relu(block.norm(x))
    y = branch(block.branch, at("pre", a), at)
    straight = {"nothing": lambda: x, "raw": lambda: block.shortcut(x), "activated": lambda: block.shortcut(a)}[of]()
    return at("post", at("branch", y, x) + at("shortcut", straight))


def separable_block(block, x, at):
    y = at("pre", x)
    y = block.at_kernel(y) if at.place == "kernel" else block.norm1(block.conv1(y))  # ReLU6 stays
    y = at("conv", block.conv2(at("inner", F.relu6(y))))
    return at("block", F.relu6(block.norm2(y)))


def vgg_block(block, x, at):
    y = block.at_kernel(x) if at.place == "kernel" else F.relu(block.norm(at("conv", block.conv(x))))
    return at("post", y)


def dense_layer(layer, x, at):
    y = layer.conv1(at("pre", F.relu(layer.norm1(x))))
    y = at("conv", layer.conv2(at("inner", F.relu(layer.norm2(y)))))
    return torch.cat([x, y], dim=1)


def transition(block, x, at):
    y = block.conv(F.relu(block.norm(x)))
    return at("transition", F.avg_pool2d(y, 2))


def ltpa_unit(block, x, at):
    return at("post", F.relu(block.norm(at("conv", block.conv(x)))))


cifar = partial(BasicBlock, 8, downsampling=2, bias=True, norm=nn.BatchNorm2d)
preact = partial(Unit, 8, downsampling=2, dropout=0.3)
basic = partial(preact, branch=Basic, strided=1)
bottleneck = partial(preact, branch=Bottleneck, strided=2)
basic_unit = partial(unit, branch=basic_branch)
bottleneck_unit = partial(unit, branch=bottleneck_branch)
v1 = partial(SeparableBlock, 8, downsampling=2, norm=nn.BatchNorm2d, init="fan_in", padding="both")
v2 = partial(InvertedResidual, 8, expansion=3, downsampling=2)
ltpa = partial(ConvUnit, 8, 6, 0.3, init="he", norm_init="uniform", norm_eps=1e-3)

RESIDUAL = ("pre", "kernel", "inner", "conv", "branch", "shortcut", "post")
#: (a block with 8 channels coming in, the name of its argument `slot`, its forward, its places)
BLOCKS = {
    "basic": (partial(cifar, 8, 1, shortcut="B"), "slot", basic_block, RESIDUAL),
    "basic_A": (partial(cifar, 10, 2, shortcut="A"), "slot", basic_block, RESIDUAL),
    "basic_B": (partial(cifar, 10, 2, shortcut="B"), "slot", basic_block, RESIDUAL),
    "bottleneck": (partial(BottleneckBlock, 8, 2, 1, downsampling=2), "slot", bottleneck_block, RESIDUAL),
    "bottleneck_B": (partial(BottleneckBlock, 8, 3, 2, downsampling=2), "slot", bottleneck_block, RESIDUAL),
    "unit": (partial(basic, 8, 1, shortcut="raw"), "slot", partial(basic_unit, of="nothing"), RESIDUAL),
    "unit_raw": (partial(basic, 10, 2, shortcut="raw"), "slot", partial(basic_unit, of="raw"), RESIDUAL),
    "unit_act": (partial(basic, 10, 2, shortcut="activated"), "slot", partial(basic_unit, of="activated"), RESIDUAL),
    "deep": (partial(bottleneck, 2, 1, shortcut="raw"), "slot", partial(bottleneck_unit, of="nothing"), RESIDUAL),
    "deep_raw": (partial(bottleneck, 3, 2, shortcut="raw"), "slot", partial(bottleneck_unit, of="raw"), RESIDUAL),
    "deep_act": (
        partial(bottleneck, 3, 2, shortcut="activated"),
        "slot",
        partial(bottleneck_unit, of="activated"),
        RESIDUAL,
    ),
    "v2": (partial(v2, 8, 1), "slot", inverted_residual, RESIDUAL),
    "v2_wider": (partial(v2, 10, 1), "slot", inverted_residual, RESIDUAL),
    "v2_strided": (partial(v2, 8, 2), "slot", inverted_residual, [p for p in RESIDUAL if p != "shortcut"]),
    "v1": (partial(v1, 10, 2), "slot", separable_block, ("pre", "kernel", "inner", "conv", "block")),
    "vgg": (partial(ConvBlock, 8, 6), "here", vgg_block, ("kernel", "conv", "post")),
    "vgg_ltpa": (ltpa, "slot", ltpa_unit, ("conv", "post")),
    "densenet": (partial(Layer, 8, 2, norm=nn.BatchNorm2d), "here", dense_layer, ("pre", "inner", "conv")),
    "transition": (partial(Transition, 8, norm=nn.BatchNorm2d), "here", transition, ("transition",)),
}


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name, (*_, places) in BLOCKS.items() for place in ("none", *places)]
)
def test_where_the_places_are(name, place):
    torch.manual_seed(0)
    make, argument, by_hand, _ = BLOCKS[name]
    block = unsettle(make(**{argument: partial(one_place, only=place)}))
    assert sum(isinstance(module, Filled | Kernel) for module in block.modules()) == (place != "none")
    x = images(8)
    torch.testing.assert_close(block(x), by_hand(block, x, At(place)))


@pytest.mark.parametrize("place", ["none", "dense", "branch"])
def test_the_ends_of_dense_blocks(place):
    """`branch` is both ends, the dense block's and the transition's."""
    torch.manual_seed(0)
    net = unsettle(DenseNet(7, growth=2, slot=partial(one_place, only=place)))
    dense, both = (At("end" if place in places else None) for places in (("dense", "branch"), ("branch",)))
    x = images(3, 16)
    found = net(x)
    y = dense("end", dense_layer(net.stages["stage1"][0], net.conv(x), At(None)))
    torch.testing.assert_close(found["stage1"], y)
    y = both("end", transition(net.stages["stage2"][0], y, At(None)))
    y = dense("end", dense_layer(net.stages["stage2"][1], y, At(None)))
    torch.testing.assert_close(found["stage2"], y)


@pytest.mark.parametrize("place", ["none", "stage"])
def test_the_ends_of_vggs_stages(place):
    """Before the pooling, which takes maxima."""
    torch.manual_seed(0)
    net = unsettle(VGG(blocks=(1, 1, 1, 1, 1), slot=partial(one_place, only=place)))
    y = x = images(3, 16)
    found = net(x)
    for number, stage in enumerate(net.stages.values(), start=1):
        y = vgg_block(stage[0], y, At(None))
        y = At(place)("stage", y) if number < 5 else y
        torch.testing.assert_close(found[f"stage{number}"], y)
        y = y.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax(dim=(3, 5)) if number < 5 else y
    assert torch.equal(found["global"], y)  # one pixel


@pytest.mark.parametrize("name", ["preresnet20", "preresnet56", "preresnet110"])
def test_simams_shortcuts_take_the_raw_map(name):
    assert attnlab.config([f"model={name}"]).model.shortcut == "raw"


@pytest.mark.parametrize("name", ["preact_resnet50", "preact_resnet110", "preact_resnet164"])
def test_the_other_shortcuts_take_the_activated_one(name):
    assert attnlab.config([f"model={name}"]).model.shortcut == "activated"
