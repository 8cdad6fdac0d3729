"""Nets that were not written for attnlab as backbones: timm's and torchvision's CNNs, and those of the user."""

import sys

import pytest
import torch
from torch import nn

import attnlab
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.evaluation.finished_run import read_finished_run
from attnlab.records.source_code import digests

MINE = '''
from torch import nn

class Net(nn.Module):
    """Images -> logits; no slots, no features."""
    def __init__(self, width=16):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.BatchNorm2d(2 * width)
        self.fc = nn.Linear(2 * width, 10)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        return self.fc(self.bn2(self.conv2(x)).relu().mean(dim=(2, 3)))

class Convolutional(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

class Pair(Net):
    def forward(self, x):
        return super().forward(x), x

class Fixed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(3 * 28 * 28, 10))

def make(width):
    return Net(width)

def stack():
    pooled = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), *pooled, nn.Linear(16, 10))
'''


def build(*overrides):
    return attnlab.build(attnlab.config(overrides))


def inside(net):
    return [name for name, module in net.named_modules() if hasattr(module, "attention_place")]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module `minelab` of the user's own, which configs may name."""
    (tmp_path / "minelab.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ATTNLAB_TRUST", "minelab")
    yield ["model=own", "model.net._target_=minelab.Net"]
    sys.modules.pop("minelab", None)


# ------------------------------------------------------------------------------------------------------------ places

IMAGENET = ("dataset=imagenet", "dataset.image_size=64")
#: (net, attention's number in `branch`, its first name there, in `stage`)
PLACES = [
    (("model=timm", "model.name=mobilenetv3_small_100", *IMAGENET), 11, "blocks.0.0", 3),
    (("model=timm", "model.name=regnetx_002", *IMAGENET), 13, "s1.b1", 3),
    (("model=timm", "model.name=convnext_atto", *IMAGENET), 12, "stages.0.blocks.0", 3),
    (("model=timm", "model.name=densenet121", *IMAGENET), 58, "features.denseblock1.denselayer1", 3),
    (("model=torchvision", "model.name=resnet18"), 8, "layer1.0", 3),
    (("model=torchvision", "model.name=mobilenet_v2"), 17, "features.1", 4),
    (("model=torchvision", "model.name=vgg11"), 5, "features.1", 4),
]


@pytest.mark.parametrize(("net", "branches", "first", "stages"), PLACES, ids=lambda value: str(value)[:60])
def test_places(net, branches, first, stages):
    """On the meta device. Names and shapes of all other weights are those of the net without attention."""
    with torch.device("meta"):
        bare = {name: tensor.shape for name, tensor in build(*net).state_dict().items()}
        for place, count in (("branch", branches), ("stage", stages)):
            found = build(*net, "attention=se", f"attention.place={place}", "attention.reduction=4")
            names = inside(found)
            assert len(names) == count
            assert place == "stage" or names[0] == f"backbone.net.{first}.at_end"
            state = {name: tensor.shape for name, tensor in found.state_dict().items()}
            within = tuple(f"{name}." for name in names)
            assert {name: shape for name, shape in state.items() if not name.startswith(within)} == bare
        with pytest.raises(ConfigError, match=r"attention\.place=inner; .* has no such place; it has post, branch"):
            build(*net, "attention=se", "attention.place=inner")


def test_stages_are_runs_of_equal_maps():
    net = ("model=torchvision", "model.name=resnet18", "attention=se", "attention.reduction=4")
    assert inside(build(*net, "attention.stages=[2]")) == [
        "backbone.net.layer2.0.at_end",
        "backbone.net.layer2.1.at_end",
    ]
    with pytest.raises(ConfigError, match=r"attention.stages=\[5\]; TorchvisionNet has place branch in stages"):
        build(*net, "attention.stages=[5]")


def test_a_pattern_in_place_of_the_places():
    net = ("model=torchvision", "model.name=resnet18", "attention=se", "attention.reduction=4")
    found = inside(build(*net, "attention.after=[layer1.*.bn2,layer2.*.bn2]"))
    assert found == [f"backbone.net.layer{stage}.{block}.bn2.at_end" for stage in (1, 2) for block in (0, 1)]
    assert len(inside(build(*net, "attention.after=[bn1,layer4.*]"))) == 3
    for name, reason in (("fc", r"no feature map"), ("layer1.0.relu", "runs 2 times in a forward pass")):
        with pytest.raises(ConfigError, match=rf"^wrong value attention.after={name}; .*{reason}"):
            build(*net, f"attention.after={name}")
    with pytest.raises(ConfigError, match=r"^unknown choice attention.after=layer\*.bn9; .* allowed are "):
        build(*net, "attention.after=layer*.bn9")
    timms = build("model=timm", "model.name=resnet18", *IMAGENET, "attention=se", "attention.after=layer*.1.bn2")
    assert len(inside(timms)) == 4


def test_the_pattern_is_in_the_id_and_the_model_s_copy_is_not():
    net = ("model=torchvision", "attention=se")
    ids = {run_id(attnlab.config([*net, *more])) for more in ([], ["attention.after=bn1"], ["attention.after=[bn1]"])}
    assert len(ids) == 3
    none = [run_id(attnlab.config(["model=torchvision", *more])) for more in ([], ["attention.after=bn1"])]
    assert none[0] == none[1]  # one baseline


def test_at_one_seed_the_weights_are_those_of_the_net_without_attention():
    net = ("model=timm", "model.name=mobilenetv3_small_050", "model.min_image_size=null")
    bare = build(*net).state_dict()
    state = build(*net, "attention=se", "attention.reduction=4").state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in bare.items())


def test_every_parameter_is_used():
    """DDP would wait for one that is not: timm's MobileNetV3 and VGG have layers behind their features."""
    for name in ("mobilenetv3_small_050", "regnetx_002"):
        net = build(
            "model=timm", f"model.name={name}", "model.min_image_size=null", "attention=se", "attention.reduction=4"
        )
        net(torch.randn(2, 3, 64, 64)).sum().backward()
        assert [key for key, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=timm", "model.name=resnet_81"], r"^unknown choice model.name=resnet_81; .*timm.list_models\(\) lists"),
        (
            ["model=timm", "model.name=vit_tiny_patch16_224"],
            r"^wrong value model.name=vit_tiny_.*; allowed is a CNN of",
        ),
        (["model=torchvision", "model.name=resnet81"], r"^unknown choice model.name=resnet81; did you mean resnet18\?"),
        (
            ["model=torchvision", "model.name=vit_b_16"],
            r"^wrong value model.name=vit_b_16; allowed is a CNN of torchvis",
        ),
        (["model=torchvision", "model.name=alexnet"], r"^model.name=alexnet fails on images \(1, 3, 32, 32\): "),
        (["model=torchvision", "head=ltpa"], r"^wrong value head.levels"),
    ],
)
def test_bad_input_gives_one_message(overrides, message):
    more = ["dataset.image_size=64"] if "timm" in overrides[0] else []
    with pytest.raises(ConfigError, match=message) as found:
        build(*overrides, *more)
    assert "\n" not in str(found.value)


# ---------------------------------------------------------------------------------------------------------- one's own


def test_a_net_of_ones_own(mine):
    attention = ("attention=cbam", "attention.after=bn*", "attention.reduction=4")
    net = build(*mine, "+model.net.width=8", *attention)
    assert inside(net) == ["backbone.net.bn1.at_end", "backbone.net.bn2.at_end"]
    assert isinstance(net.backbone.net.fc, nn.Identity)  # the head takes its place
    assert net.head.linear.in_features == 16
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert net(torch.randn(2, 3, 48, 48)).shape == (2, 10)
    made = build("model=own", "model.net._target_=minelab.make", "+model.net.width=4")
    assert made.head.linear.in_features == 8
    followed = build("model=own", "model.net._target_=minelab.Convolutional")
    assert followed.head.linear.in_features == 10
    assert "minelab.py" in digests(attnlab.config(mine))["model"]


def test_the_number_in_a_sequential_is_a_name(mine):
    net = build("model=own", "model.net._target_=minelab.stack", "attention=se", "attention.after=1")
    assert inside(net) == ["backbone.net.1.at_end"]
    with pytest.raises(ConfigError, match=r"^wrong value attention.after=0.1; .* \(0.1 in quotes\)"):
        attnlab.config(["model=own", "model.net._target_=minelab.stack", "attention=se", "attention.after=0.1"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.net._target_=minelab.Missing"], r"^cannot import model.net._target_=minelab.Missing"),
        (["model.net._target_=other.Net"], r"^wrong value model.net._target_=other.Net; allowed is a name that begins"),
        (["model.net._target_=minelab.Net", "+model.net.depth=3"], r"^unknown key model.net.depth; .*model.net.width"),
        (["model.net._target_=minelab.Pair"], r"^model.net._target_=minelab.Pair returns a tuple; allowed is a tensor"),
        (["model.net._target_=minelab.Fixed"], r"^model.net._target_=minelab.Fixed fails on images \(1, 3, 32, 32\): "),
        (["model.net._target_=minelab.make"], r"^model.net \(minelab.make\): make\(\) missing 1 required"),
    ],
)
def test_a_net_of_ones_own_that_does_not_fit(mine, overrides, message):
    with pytest.raises(ConfigError, match=message) as found:
        build("model=own", *overrides)
    assert "\n" not in str(found.value)


def test_it_trains_and_loads_and_its_maps_are_drawn(mine, tiny):
    overrides = [*tiny, *mine, "attention=cbam", "attention.after=bn*", "attention.reduction=4", "recipe.steps=2"]
    cfg = attnlab.config([*(o for o in overrides if o != "model=resnet8"), "dataset.train_size=200"])
    record = attnlab.train(cfg)
    net = attnlab.load(record["id"], cfg.output_dir)
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    run = read_finished_run(record["id"], cfg.output_dir, cfg.machine, [], 4)
    images = run.batches(run.test.images)[0]
    assert list(attnlab.mask_maps(net, images)) == [f"backbone.net.bn{i}.at_end.spatial" for i in (1, 2)]
    assert attnlab.cam_layer(net, images).startswith("backbone.net.")
