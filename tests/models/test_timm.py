"""timm's nets: our blocks compute what timm's do, take attention at every place, and load timm's weights."""

import copy
import shutil
from functools import partial

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import nn

import attnlab
from attnlab.attention.placement import AttentionSlots
from attnlab.errors import ConfigError
from attnlab.models.slots import no_attention
from attnlab.models.timm_resnet import TimmResNet, with_slots

PLACES = ("pre", "kernel", "conv", "inner", "branch", "shortcut", "post", "stage")
#: plain; bottlenecks in groups; wide; average pooling on the shortcut; anti-aliased twice; with attention of its own
NETS = ("resnet18", "resnext50_32x4d", "wide_resnet50_2", "resnet14t", "resnetaa34d", "resnetblur50", "seresnet50")
DROPS = {"drop_path_rate": 0.5, "drop_block_rate": 0.1}


def build(*overrides):
    return attnlab.build(attnlab.config(["model=timm", "dataset=imagenet", "dataset.image_size=64", *overrides]))


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("drops", [{}, DROPS], ids=["", "drops"])
def test_without_attention_it_is_timms_net(name, drops, images):
    """Names of the weights, outputs, gradients and running statistics, bit for bit."""
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=0, **drops)
    torch.manual_seed(0)
    ours = with_slots(timm.create_model(name, num_classes=0, **drops), no_attention)
    found = []
    for net in (theirs, ours):
        torch.manual_seed(1)  # of the drops
        y = net(images)
        y.square().sum().backward()
        first = next(net.parameters()).grad
        found.append((y, first, net.eval()(images), net.state_dict()))
    (y, first, evaluated, state), other = found
    assert torch.equal(y, other[0])
    assert torch.equal(first, other[1])
    assert torch.equal(evaluated, other[2])
    assert list(state) == list(other[3])
    assert all(torch.equal(value, other[3][key]) for key, value in state.items())


@pytest.mark.parametrize("name", ["resnet18", "resnet26d"])
@pytest.mark.parametrize("place", PLACES)
def test_every_place_takes_attention_and_learns(name, place, images):
    bare = build(f"model.name={name}").state_dict()
    attention = ["attention=sk"] if place == "kernel" else ["attention=se", f"attention.place={place}"]
    net = build(f"model.name={name}", *attention)
    inside = tuple(f"{key}." for key, module in net.named_modules() if hasattr(module, "attention_place"))
    blocks = 8
    assert len(inside) == (3 if place == "stage" else blocks)
    assert all(key.rpartition(".at_")[2] == f"{place}." for key in inside)
    rest = {key: value for key, value in net.state_dict().items() if not key.startswith(inside)}
    assert rest.keys() <= bare.keys()
    assert place == "kernel" or rest.keys() == bare.keys()
    assert all(torch.equal(value, bare[key]) for key, value in rest.items())
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # timm's branches begin at zero: nothing would flow in them
            nn.init.ones_(module.weight)
    net(images).square().sum().backward()
    grads = {key: parameter.grad for key, parameter in net.named_parameters()}
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads.values())
    dead = [key for key, grad in grads.items() if key.startswith(inside) and not grad.abs().sum() > 0]
    assert len(dead) < len(inside)  # a bias in front of a BN, a unit behind a ReLU


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def one_place(place, channels, *, only, **_):
    return Doubled() if place == only else nn.Identity()


def reference(block, x, place):
    """timm's forward, in our words, with what stands at `place` doubling."""

    def at(name, y):
        return 2 * y if name == place else y

    y = block.conv1(at("pre", x))
    if hasattr(block, "conv3"):
        y = block.conv2(block.act1(block.bn1(y)))
        y = block.conv3(at("inner", block.aa(block.act2(block.bn2(at("conv", y))))))
        y = block.bn3(y)
    else:
        y = block.bn2(at("conv", block.conv2(at("inner", block.aa(block.act1(block.bn1(y)))))))
    straight = x if block.downsample is None else block.downsample(x)
    return at("post", torch.relu(at("branch", y) + at("shortcut", straight)))


@pytest.mark.parametrize("name", ["resnet18", "resnet26d", "resnetblur50"])
@pytest.mark.parametrize("place", [place for place in PLACES if place not in ("kernel", "stage")])
def test_where_the_places_are(name, place):
    theirs = timm.create_model(name, num_classes=0).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)  # a place before a BN is another than one after it
    ours = with_slots(copy.deepcopy(theirs), partial(one_place, only=place)).eval()
    for index in (0, 1):  # with a stride and a conv on the shortcut; with neither
        block = theirs.layer2[index]
        x = torch.randn(2, block.conv1.in_channels, 9, 9)
        assert torch.allclose(ours.layer2[index](x), reference(block, x, place), atol=1e-4)
        assert not torch.allclose(ours.layer2[index](x), reference(block, x, None), atol=1e-4)


@pytest.mark.parametrize("name", ["resnet26d", "resnetblur50"])
def test_attention_sees_maps_of_the_size_it_was_told(name, images):
    """GE-theta's convolution is as large as the map."""
    for place in (place for place in PLACES if place != "kernel"):
        node = attnlab.config(["attention=ge_theta", f"attention.place={place}"]).attention
        net = TimmResNet(name, slot=AttentionSlots(node, 64))
        assert net.eval()(images)["stage4"].shape == (2, 2048, 2, 2)


def test_copies_and_compiles(images):
    overrides = ("model.name=resnet10t", "attention=pse", "attention.place=branch")
    net = build(*overrides).eval()
    twin = copy.deepcopy(net)
    expected = net(images)
    assert torch.equal(twin(images), expected)
    twin.compile(backend="eager")
    assert torch.allclose(twin(images), expected, atol=1e-5)
    assert twin.state_dict().keys() == net.state_dict().keys()
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["skresnet18", "res2net50_26w_4s", "resnest14d"])
def test_blocks_of_other_resnets_take_attention_at_their_ends(name):
    net = build(f"model.name={name}", "attention=se")
    inside = [key for key, module in net.named_modules() if hasattr(module, "attention_place")]
    assert all(key.endswith(".at_end") for key in inside)
    assert len(inside) == sum(len(getattr(net.backbone.net, f"layer{stage}")) for stage in range(1, 5))
    with pytest.raises(ConfigError, match=r"attention\.place=pre; TimmResNet has no such place; it has post, branch"):
        build(f"model.name={name}", "attention=se", "attention.place=pre")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty Hugging Face cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def put(hub, name, state):
    """Into the cache, as a download leaves it."""
    repository = hub / f"models--timm--{name}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    save_file(state, snapshot / "model.safetensors")


@pytest.mark.parametrize("place", ["branch", "pre", "shortcut", "stage"])
def test_pretrained_weights_load(hub, place):
    torch.manual_seed(3)
    weights = timm.create_model("resnet18").state_dict()
    put(hub, "resnet18.a1_in1k", weights)
    net = build("model.name=resnet18", "model.pretrained=true", "attention=se", f"attention.place={place}")
    state = net.backbone.net.state_dict()
    assert all(torch.equal(state[key], value) for key, value in weights.items() if not key.startswith("fc."))
    fresh = build("model.name=resnet18").backbone.net.state_dict()
    assert not torch.equal(state["conv1.weight"], fresh["conv1.weight"])


def test_pretrained_weights_that_are_not_to_be_had(hub):
    with pytest.raises(ConfigError) as found:
        build("model.name=resnet18", "model.pretrained=true")
    message = str(found.value)
    assert message.startswith(
        "model.pretrained=true: the weights of model.name=resnet18 could not be fetched from timm/resnet18.a1_in1k"
    )
    assert "hub/models--timm--resnet18.a1_in1k here" in message
    assert "\n" not in message
    with pytest.raises(ConfigError, match=r"timm has no weights of model\.name=seresnet18; allowed is false"):
        build("model.name=seresnet18", "model.pretrained=true")
    put(hub, "resnet34.a1_in1k", {"conv1.weight": torch.zeros(1)})
    with pytest.raises(ConfigError, match=r"the weights of model\.name=resnet34 do not load: "):
        build("model.name=resnet34", "model.pretrained=true")


def test_a_finished_run_needs_timms_weights_no_more(hub, tiny):
    put(hub, "resnet10t.c3_in1k", timm.create_model("resnet10t").state_dict())
    overrides = [*tiny, "model=timm", "model.name=resnet10t", "model.pretrained=true", "recipe.steps=1"]
    cfg = attnlab.config([*overrides, "dataset.train_size=150", "model.min_image_size=null"])
    record = attnlab.train(cfg)
    shutil.rmtree(hub / "models--timm--resnet10t.c3_in1k")
    with pytest.raises(ConfigError, match=r"model\.pretrained=true: .* could not be fetched"):
        attnlab.build(cfg)
    assert attnlab.load(record["id"], cfg.output_dir)(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
