"""insert_attention on nets that others wrote: the net stays itself, learns with it, and is given back."""

import copy
import pickle
from functools import partial

import pytest
import timm
import torch
import torchvision
from torch import nn

import attnlab
from attnlab.errors import ConfigError


class InTurn(nn.ModuleDict):
    """Calls all its submodules, one after the other."""

    def forward(self, x):
        for layer in self.values():
            x = layer(x)
        return x


class ChannelsLast(nn.Module):
    """LayerNorm over the channels, as ConvNeXt has it."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x):
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class HandWritten(nn.Module):
    """Images (B, 1, H, W) -> logits (B, 5), with all that an attention cannot stand behind."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32)
        self.stage = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
        self.turn = InTurn({"a": nn.Conv2d(32, 32, 1), "b": nn.ReLU()})
        self.layer_norm = ChannelsLast(32)
        self.relu, self.unused, self.empty = nn.ReLU(), nn.Conv2d(1, 1, 1), nn.Sequential()
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.empty(self.stage(self.relu(self.norm2(self.conv2(x)))))
        return self.head(self.layer_norm(self.turn(x)).mean(dim=(2, 3)))


def of(make, name, **settings):
    return partial(make, name, num_classes=5, **settings)


slow = pytest.mark.slow
tv, tm = torchvision.models.get_model, timm.create_model
#: the net, the pattern, the number of modules that it names
NETS = {
    "hand-written": (HandWritten, "norm*", 2),
    "torchvision resnet18": (of(tv, "resnet18"), "layer*.*.bn2", 8),
    "timm mobilenetv3": (of(tm, "mobilenetv3_small_050"), "blocks.*.*", 12),
    "timm regnet": (of(tm, "regnetx_002"), "s?.b*", 13),
    "torchvision convnext_tiny": (of(tv, "convnext_tiny"), "features.[1357].*", 18),
    "timm efficientnet_b0": (of(tm, "efficientnet_b0"), "blocks.*.*", 16),
}
LARGE = ("torchvision convnext_tiny", "timm efficientnet_b0")
LARGE_ARE_SLOW = [pytest.param(name, marks=[slow] if name in LARGE else []) for name in NETS]
ONE_IS_FAST = [pytest.param(name, marks=[] if name == "hand-written" else [slow]) for name in NETS]


def made(name, start="identity"):
    """(net, its images, names of the modules with attention)"""
    make, pattern, count = NETS[name]
    torch.manual_seed(0)
    net = make().eval()
    images = torch.randn(4, 1 if name == "hand-written" else 3, 32, 32)
    names = attnlab.insert_attention(net, "se", after=pattern, start=start, reduction=4, images=images)
    assert len(names) == count
    return net, images, names


def awake(net):
    """The net with every attention fully on: y = f(x)."""
    for module in net.modules():
        if hasattr(module, "attention_place"):
            nn.init.ones_(module.amount)
    return net


@pytest.mark.parametrize("name", NETS)
def test_it_begins_as_the_net_and_gives_it_back(name):
    torch.manual_seed(0)
    before = NETS[name][0]().eval()
    keys = list(before.state_dict())
    net, images, names = made(name)
    with torch.no_grad():
        y = before(images)
        assert torch.equal(net(images), y)
        inside = tuple(f"{found}.at_end." for found in names)
        assert [key for key in net.state_dict() if not key.startswith(inside)] == keys
        assert {key.split(".at_end.")[0] for key in net.state_dict() if key.startswith(inside)} == set(names)
        assert not torch.equal(awake(net)(images), y)
        copies = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
        for other in copies:
            assert torch.equal(other(images), net(images))
        assert sorted(attnlab.remove_attention(copies[0])) == sorted(names)
        assert torch.equal(copies[0](images), y)
        assert list(copies[0].state_dict()) == keys
        assert not torch.equal(net(images), y)  # the copy's attention was its own
    assert attnlab.remove_attention(copies[0]) == []


@pytest.mark.parametrize("name", LARGE_ARE_SLOW)
def test_it_trains(name):
    """20 steps: the loss falls, every attention learns, and the mode of each module is what it was."""
    net, images, names = made(name)
    assert not any(module.training for module in net.modules())
    labels = torch.arange(4)
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses[-5:]) < losses[0]
    amounts = [net.get_submodule(f"{found}.at_end").amount for found in names]
    assert all(torch.isfinite(amount) for amount in amounts)
    assert sum(bool(amount != 0) for amount in amounts) > len(amounts) / 2  # 1x1 maps in front of a BN may stay 0


@pytest.mark.parametrize("name", ONE_IS_FAST)
def test_it_exports_and_compiles(name):
    net, images, _ = made(name)
    awake(net)
    with torch.no_grad():
        expected = net(images)
        program = torch.export.export(net, (images,)).module()
        torch.testing.assert_close(program(images), expected, rtol=1e-4, atol=1e-5)
        compiled = torch.compile(net, backend="eager", fullgraph=name == "hand-written")
        torch.testing.assert_close(compiled(images), expected, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()


def test_a_sequential_gets_it_behind_its_last_module():
    net = HandWritten().eval()
    images = torch.randn(2, 1, 16, 16)
    names = attnlab.insert_attention(net, "cbam", after="stage", reduction=4, mask="ignore", images=images)
    assert names == ["stage.1"]
    assert len(net.stage) == 2
    with attnlab.record_masks(net) as masks:
        net(images)
    assert {name: one.kind for name, one in masks.items()} == {
        "stage.1.at_end.channel": "channel",
        "stage.1.at_end.spatial": "spatial",
    }


def test_sizes_previous_scores_dtype_and_mode():
    net = HandWritten().double().train()
    images = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    assert attnlab.insert_attention(net, "ge_theta", after=["norm1", "norm2"], images=images) == ["norm1", "norm2"]
    assert net(images).dtype == torch.float64
    assert all(module.training for module in net.modules())
    attnlab.remove_attention(net)
    attnlab.insert_attention(net, "dca_se", after="norm*", reduction=4)  # the default image: (1, 1, 224, 224)
    assert net.norm2.at_end.score.before == (net.norm1.at_end.score,)
    net(images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cbma"}, r"^unknown choice attention=cbma; did you mean cbam\?"),
        ({"after": "norm3"}, r"^unknown choice after=norm3; did you mean norm1\? allowed are norm1, norm2, "),
        ({"after": "stage.bn"}, r"^unknown choice after=stage\.bn;.* allowed are stage\.[01], stage\.[01], "),
        ({"after": "nothing.*"}, r"^unknown choice after=nothing\.\*; allowed are .*, \.\.\. \(16 names\)$"),
        ({"after": "head"}, r"^wrong value after=head; .*; its output \(1, 5\) is no feature map \(B, C, H, W\)"),
        ({"after": ["norm1", "relu"]}, r"^wrong value after=relu; .*; it runs 2 times in a forward pass"),
        ({"after": "unused"}, r"^wrong value after=unused; .*; it does not run in a forward pass"),
        ({"after": "empty"}, r"^wrong value after=empty; it is an empty Sequential"),
        ({"after": "turn"}, r"^wrong value after=turn; it calls its submodules in turn; allowed is one of them"),
        ({"after": "*.norm"}, r"^wrong value after=layer_norm\.norm; .*; its output has the channels last"),
        ({"reduction": 64}, r"^wrong value attention.reduction=64; allowed is an integer from 1 to 16"),
        ({"reductoin": 8}, r"^unknown key attention.reductoin; did you mean attention.reduction\?"),
        ({"name": "pse"}, r"^missing argument in_channels"),
        ({"start": "zero"}, r"^wrong value start=zero; allowed is null or identity"),
        ({"images": torch.zeros(1, 3, 8, 8)}, r"^cannot call the net; images=... is what it takes: RuntimeError: "),
    ],
)
def test_bad_input_gives_one_message_and_leaves_the_net(arguments, message):
    net = HandWritten().eval()
    before = repr(net)
    with pytest.raises(ConfigError, match=message) as found:
        attnlab.insert_attention(net, **{"name": "se", "after": "norm1", "reduction": 4} | arguments)
    assert "\n" not in str(found.value)
    assert repr(net) == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_place_is_taken_once():
    net = HandWritten()
    attnlab.insert_attention(net, "se", after="norm1", reduction=4)
    with pytest.raises(ConfigError, match=r"^wrong value after=norm1; it has attention already; remove_attention"):
        attnlab.insert_attention(net, "se", after="norm*", reduction=4)
    assert attnlab.remove_attention(net) == ["norm1"]


def test_masks_and_maps_of_a_foreign_net():
    net, images, names = made("torchvision resnet18", start=None)
    x = torch.nn.functional.interpolate(images, size=64)
    with attnlab.record_masks(net) as masks:
        net(x)
    assert list(masks) == [f"{found}.at_end" for found in names]
    assert {one.kind for one in masks.values()} == {"channel"}
    attnlab.remove_attention(net)
    attnlab.insert_attention(net, "small_spatial", after="layer[12].1", images=x)
    maps = attnlab.mask_maps(net, x)
    assert list(maps) == ["layer1.1.at_end", "layer2.1.at_end"]
    assert all(found.shape == (4, 64, 64) for found in maps.values())
    layer = attnlab.cam_layer(net, x)
    assert layer.startswith("layer3")  # 4x4; layer4 has 2x2
    found = attnlab.cams(net, x, torch.arange(4), layer)
    assert {name: one.shape for name, one in found.items()} == dict.fromkeys(("gradcam", "hirescam"), (4, 64, 64))


def test_ddp_trains_it(tmp_path):
    """All parameters are reduced: DDP waits for each that it knows."""
    net, images, names = made("hand-written")
    net.unused = nn.Identity()  # DDP refuses parameters without a gradient
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(awake(net).train())
        for _ in range(2):
            wrapped(images).sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    inside = [parameter for found in names for parameter in net.get_submodule(f"{found}.at_end").parameters()]
    assert all(parameter.grad is not None for parameter in inside)
