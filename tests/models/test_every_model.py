"""Every yaml of conf/model keeps the contract of a backbone, at every place that it offers.

On the meta device, which computes shapes alone, so that a net of 164 layers costs what one of 20 does; numbers, one
forward of each. The gradients of small nets of every family: test_families.py, test_timm.py. Heads: tests/heads/.
"""

import copy
from functools import cache

import pytest
import torch

import attnlab
from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.groups import choices
from attnlab.configuration.names import read_choice
from attnlab.errors import ConfigError

#: overrides of every net; timm's is three. One's own: test_foreign_nets.py
NETS = {name: [f"model={name}"] for name in choices("model") if name not in ("timm", "own")} | {
    f"timm {name}": ["model=timm", f"model.name={name}", "dataset=imagenet", "dataset.image_size=64"]
    for name in ("resnet18", "resnet50", "mobilenetv3_small_100")
}
FEWEST = 4  # channels that one hidden unit stands for: divides those of every place of every net


@cache
def without(net):
    return plain(compose_file("run", [*NETS[net], "attention=none"]))


@cache
def config(net, attention):
    """Composed once a net: an attention's yaml is its node (test_config.py), beside the keys that all have."""
    values = without(net)
    return values | {"attention": values["attention"] | read_choice("attention", attention)}


def with_attention(net, attention, place=None):
    values = copy.deepcopy(config(net, attention))
    if place:
        values["attention"]["place"] = place
    if "reduction" in values["attention"] and attention != "sk":
        values["attention"]["reduction"] = FEWEST
    return values


@cache
def offered(net):
    """The net's places, as it lists them to who asks for another."""
    with torch.device("meta"), pytest.raises(ConfigError) as found:
        attnlab.build(with_attention(net, "se", "nowhere"))
    return str(found.value).partition("it has ")[2].partition(" (")[0].split(", ")


@cache
def bare(net):
    """Names and shapes of the net without attention."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in attnlab.build(config(net, "none")).state_dict().items()}


def marked(net):
    return {name: module for name, module in net.named_modules() if hasattr(module, "attention_place")}


#: of the blocks of shallower nets, place by place; in their usual place they are tried as well
DEEP = ("resnet56", "resnet110", "preact_resnet110", "preact_resnet164", "preresnet56", "preresnet110")
CASES = [
    (net, attention, place)
    for net in NETS
    for place in (("branch",) if net in DEEP else offered(net))
    for attention in (["sk"] if place == "kernel" else ["cbam"] if place == "branch" else ["se"])
]


def test_there_are_places_to_test():
    assert len(NETS) >= 28
    assert all({"branch", "stage"} <= set(offered(net)) for net in NETS)


@pytest.mark.parametrize("net", NETS)
def test_features(net):
    """Named, in order, as many channels as said, no larger than the one before; the head classifies them."""
    values = config(net, "none")
    size, classes = values["dataset"]["image_size"], values["dataset"]["classes"]
    with torch.device("meta"):
        built = attnlab.build(values)
        features = built.backbone(torch.zeros(2, 3, size, size))
        logits = built(torch.zeros(2, 3, size, size))
    assert built.backbone.channels == {name: feature.shape[1] for name, feature in features.items()}
    assert list(built.backbone.channels) == list(features)
    sizes = [feature.shape[2:] for feature in features.values()]
    assert all(height == width for height, width in sizes)
    assert sizes == sorted(sizes, reverse=True)
    assert logits.shape == (2, classes)


@pytest.mark.parametrize(("net", "attention", "place"), CASES)
def test_every_place(net, attention, place):
    """It is filled, each module is called once, and all other weights keep name and shape."""
    values = with_attention(net, attention, place)
    size, classes = values["dataset"]["image_size"], values["dataset"]["classes"]
    calls = []
    with torch.device("meta"):
        built = attnlab.build(values)
        modules = marked(built)
        for name, module in modules.items():
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
        logits = built(torch.zeros(2, 3, size, size))
    assert logits.shape == (2, classes)
    assert modules
    assert sorted(calls) == sorted(modules)
    own = place in {module.attention_place for module in modules.values()}
    assert own or place in ("branch", "stage")  # names that other places go by
    state = {name: tensor.shape for name, tensor in built.state_dict().items()}
    inside = tuple(f"{name}." for name in modules)
    rest = {name: shape for name, shape in state.items() if not name.startswith(inside)}
    assert len(rest) < len(state)
    assert rest.items() <= bare(net).items()
    assert place == "kernel" or rest.keys() == bare(net).keys()


@pytest.mark.parametrize("net", NETS)
def test_se_in_its_usual_place(net):
    """Finite logits; and at one seed the weights of the net without attention, bit for bit."""
    values = with_attention(net, "se")
    built, plainly = attnlab.build(values), attnlab.build(config(net, "none"))
    size = values["dataset"]["image_size"]
    with torch.no_grad():
        logits = built(torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)))
    assert torch.isfinite(logits).all()
    assert not torch.equal(logits[0], logits[1])
    state = built.state_dict()
    assert len(state) > len(plainly.state_dict())
    for name, tensor in plainly.state_dict().items():
        if "running_" not in name and "num_batches" not in name:  # the forward moved them
            assert torch.equal(state[name], tensor), name
